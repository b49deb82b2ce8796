//! What the verifier has to be shown although the compiler knows it, and what
//! it has to forget although the compiler remembers.

use core::arch::asm;

/// The same value, but unknown to the compiler: a bound checked after this
/// stays in the program and is on the register that is used. Without it LLVM
/// drops checks that it can prove, and the verifier, which cannot, says
/// "max value is outside of the allowed memory range" or "invalid zero-sized
/// read".
#[inline(always)]
pub fn opaque(mut value: u64) -> u64 {
    // One instruction, for two lines must not share one: "Invalid line_info".
    // SAFETY: moves a register to itself.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Makes the compiler read memory afresh. The verifier follows what registers
/// hold but not what a map holds: where ways meet after this, they are one.
#[inline(always)]
pub fn forget() {
    // SAFETY: a jump to the next instruction.
    unsafe { asm!("goto +0", options(nostack)) };
}
