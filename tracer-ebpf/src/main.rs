//! The kernel programs of `tracer`: thin shells that read a packet or a
//! tracepoint, run the machine of `tracer-common` and apply its effects to maps.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(
    internal_features,
    reason = "the BPF target has atomic addition but, lacking compare-and-swap, no core::sync::atomic methods"
)]

mod backends;
mod connects;
mod dials;
mod drops;
mod elsewhere;
mod failures;
mod flows;
mod globals;
mod joins;
mod kernel;
mod latencies;
mod maps;
mod nat;
mod notes;
mod own;
mod records;
mod resets;
mod retransmits;
mod routes;
mod rows;
mod served;
mod skb;
mod sweep;
mod tap;
mod verifier;
mod wire;

/// A reachable panic must fail at load: the verifier refuses an endless loop.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Tracing helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
