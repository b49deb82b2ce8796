//! The inside of connect(2): marks the thread while it is in `tcp_v4_connect` or
//! `tcp_v6_connect`, and counts dials that fail there; see `dials.rs`.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::{Array, HashMap},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use tracer_common::words::Lost;

use crate::{
    dials::{by_errno, count},
    kernel::{self, Sock},
    maps,
};

/// Threads inside `tcp_v4_connect` or `tcp_v6_connect`, by thread id.
#[map]
static CONNECTING: HashMap<u32, Connecting> = HashMap::with_max_entries(1024, 0);
/// 1 once a hook here has run.
#[map]
static HOOKED: Array<u32> = Array::with_max_entries(1, 0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Connecting {
    sock: u64,
    /// Destination port, host byte order.
    port: u32,
    /// Position of the port's counters.
    slot: u32,
}

/// C: int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
///
/// In kernels after 6.18 `uaddr` is a `struct sockaddr_unsized *`.
#[fentry]
pub fn connect4_enter(ctx: FEntryContext) -> i32 {
    on_enter(Sock(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    0
}

/// Return of [`connect4_enter`]'s function.
#[fexit]
pub fn connect4_exit(ctx: FExitContext) -> i32 {
    on_exit(&ctx, ctx.arg(RETURN_VALUE));
    0
}

/// C: int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
///
/// In kernels after 6.18 `uaddr` is a `struct sockaddr_unsized *`.
#[fentry]
pub fn connect6_enter(ctx: FEntryContext) -> i32 {
    on_enter(Sock(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    0
}

/// Return of [`connect6_enter`]'s function.
#[fexit]
pub fn connect6_exit(ctx: FExitContext) -> i32 {
    on_exit(&ctx, ctx.arg(RETURN_VALUE));
    0
}

/// [`connect4_enter`] and [`connect6_enter`] as one kprobe.
#[kprobe]
pub fn connect_enter(ctx: ProbeContext) -> u32 {
    if let (Some(sock), Some(addr), Some(len)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        on_enter(Sock(sock), addr, len);
    }
    0
}

/// [`connect4_exit`] and [`connect6_exit`] as one kretprobe.
#[kretprobe]
pub fn connect_exit(ctx: RetProbeContext) -> u32 {
    on_exit(&ctx, ctx.ret());
    0
}

/// An fexit program finds the return value behind the three arguments
/// (`bpf_get_func_ret` exists from 5.17 on).
const RETURN_VALUE: usize = 3;

#[inline(always)]
fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// Marks the thread. A dial to an IPv4-mapped address passes `tcp_v6_connect`,
/// then `tcp_v4_connect` inside it: the second mark replaces the first by its
/// equal, and the first return takes it away.
#[inline(always)]
fn on_enter(sock: Sock, addr: *const u8, addr_len: i32) {
    let Some(port) = kernel::sockaddr_port(addr, addr_len) else {
        return;
    };
    let Some(slot) = maps::slot_of(port) else {
        return;
    };
    let mark = Connecting {
        sock: sock.id(),
        port: port.into(),
        slot: slot.into(),
    };
    // Exists always; whoever writes writes the same.
    let _ = HOOKED.set(0, 1, 0);
    if CONNECTING.insert(thread(), mark, 0).is_err() {
        maps::lost(Lost::Dials);
    }
}

/// Counts a dial that failed inside the connect function.
#[inline(always)]
fn on_exit(ctx: &impl EbpfContext, ret: i32) {
    let thread = thread();
    // SAFETY: only this thread writes the element, and it is here.
    let Some(&mark) = (unsafe { CONNECTING.get(thread) }) else {
        return;
    };
    // It was there; no other program removes it.
    let _ = CONNECTING.remove(thread);
    if ret < 0 {
        debug!(ctx, "dial to port {} failed at once: {}", mark.port, ret);
        count(mark.slot as u16, by_errno(ret.wrapping_neg()));
    }
}

/// True while this thread is inside the connect function with this socket.
#[inline(always)]
pub fn inside(sock: Sock) -> bool {
    // SAFETY: only this thread writes the element, and it is here.
    unsafe { CONNECTING.get(thread()) }.is_some_and(|mark| mark.sock == sock.id())
}

/// Hooks at the connect functions are there: what fails inside has not come to
/// `dials.rs`.
#[inline(always)]
pub fn hooked() -> bool {
    HOOKED.get(0).is_some_and(|hooked| *hooked != 0)
}
