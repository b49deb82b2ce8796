//! Loads from a packet's linear part, whatever their alignment.

use core::arch::asm;

/// Loads the word at an address, in one instruction: LLVM takes apart what may
/// not be aligned, which headers are not; the machine does not mind.
///
/// # Safety
/// Four bytes of the packet are there.
#[inline(always)]
pub(super) unsafe fn word_at(at: u64) -> u32 {
    let word: u64;
    // SAFETY: reads what the caller says is there.
    unsafe {
        asm!("{0} = *(u32 *)({1} + 0)", out(reg) word, in(reg) at, options(pure, readonly, nostack, preserves_flags));
    }
    word as u32
}

/// [`word_at`] for two bytes.
///
/// # Safety
/// They are there.
#[inline(always)]
pub(super) unsafe fn half_at(at: u64) -> u16 {
    let half: u64;
    // SAFETY: reads what the caller says is there.
    unsafe {
        asm!("{0} = *(u16 *)({1} + 0)", out(reg) half, in(reg) at, options(pure, readonly, nostack, preserves_flags));
    }
    half as u16
}

/// [`word_at`] for eight bytes.
///
/// # Safety
/// They are there.
#[inline(always)]
pub(super) unsafe fn long_at(at: u64) -> u64 {
    let long: u64;
    // SAFETY: reads what the caller says is there.
    unsafe {
        asm!("{0} = *(u64 *)({1} + 0)", out(reg) long, in(reg) at, options(pure, readonly, nostack, preserves_flags));
    }
    long
}
