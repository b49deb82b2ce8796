//! The inside of connect(2): marks the thread while it is in `tcp_v4_connect` or
//! `tcp_v6_connect`, and counts dials that fail there; see `dials.rs`.
//!
//! A kretprobe may not fire: the kernel has places for a few calls at once alone, about
//! one a CPU where it cannot be preempted (`maxactive`). Then a mark stays. It says what
//! has become of its dial as far as transitions told; the thread's next dial finds it.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit, kprobe, kretprobe, map},
    maps::{Array, LruHashMap},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use tracer_common::words::{LocalOutcome, Lost};

use crate::{
    dials::{by_errno, count},
    kernel::{self, Sock},
    maps, own,
};

/// Threads inside `tcp_v4_connect` or `tcp_v6_connect`, by thread id; and marks that
/// stayed, of threads that may be gone: the oldest are displaced.
#[map]
static CONNECTING: LruHashMap<u32, Connecting> = LruHashMap::with_max_entries(1024, 0);
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
    slot: u16,
    /// How far the dial has come: one of [`stage`].
    stage: u16,
}

/// Values of [`Connecting::stage`].
mod stage {
    /// Inside the connect function.
    pub const ENTERED: u16 = 0;
    /// In SYN_SENT.
    pub const BEGAN: u16 = 1;
    /// Back in CLOSE, before a SYN was sent: the return value tells why.
    pub const FAILED: u16 = 2;
    /// Counted, by the transition that told how it ended.
    pub const COUNTED: u16 = 3;
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
    if !kernel::sockaddr_ip(addr).is_some_and(|to| own::is_dialled(&to, sock)) {
        return;
    }
    let mark = Connecting {
        sock: sock.id(),
        port: port.into(),
        slot,
        stage: stage::ENTERED,
    };
    if let Some(before) = mark_of_thread() {
        returned_unseen(before, sock);
    }
    // Exists always; whoever writes writes the same.
    let _ = HOOKED.set(0, 1, 0);
    if CONNECTING.insert(thread(), mark, 0).is_err() {
        maps::lost(Lost::Dials);
    }
}

/// The mark of this thread, which alone writes it while it is here.
#[inline(always)]
fn mark_of_thread() -> Option<&'static mut Connecting> {
    let mark = CONNECTING.get_ptr_mut(thread())?;
    // SAFETY: as said; map memory stays mapped while the program runs.
    Some(unsafe { &mut *mark })
}

/// What is known of a dial of which the return was not shown. (An IPv4-mapped one is
/// marked twice with the same socket, and has not returned.)
#[inline(always)]
fn returned_unseen(mark: &Connecting, now: Sock) {
    match mark.stage {
        stage::ENTERED if mark.sock != now.id() => maps::lost(Lost::Dials),
        // Without the return value, as where there is no hook.
        stage::FAILED => count(mark.slot, LocalOutcome::NoSource),
        _ => {}
    }
}

/// Counts a dial that failed inside the connect function.
#[inline(always)]
fn on_exit(ctx: &impl EbpfContext, ret: i32) {
    let Some(&mut mark) = mark_of_thread() else {
        return;
    };
    // It was there; no other program removes it.
    let _ = CONNECTING.remove(thread());
    if ret < 0 && mark.stage != stage::COUNTED {
        debug!(ctx, "dial to port {} failed at once: {}", mark.port, ret);
        count(mark.slot, by_errno(ret.wrapping_neg()));
    }
}

/// The mark of this thread, if it is inside the connect function with this socket, or
/// was when the kernel did not show the return.
#[inline(always)]
fn mark_with(sock: Sock) -> Option<&'static mut Connecting> {
    mark_of_thread().filter(|mark| mark.sock == sock.id())
}

/// The socket is in SYN_SENT.
#[inline(always)]
pub fn began(sock: Sock) {
    if let Some(mark) = mark_with(sock) {
        mark.stage = stage::BEGAN;
    }
}

/// The socket has left SYN_SENT: true when the return value will tell how the dial
/// ended, since it failed inside, `unsent`: before its SYN was sent.
#[inline(always)]
pub fn fails_inside(sock: Sock, unsent: bool) -> bool {
    let Some(mark) = mark_with(sock) else {
        return false;
    };
    mark.stage = if unsent {
        stage::FAILED
    } else {
        stage::COUNTED
    };
    unsent
}

/// Hooks at the connect functions are there: what fails inside has not come to
/// `dials.rs`.
#[inline(always)]
pub fn hooked() -> bool {
    HOOKED.get(0).is_some_and(|hooked| *hooked != 0)
}
