//! Dials made on this node to a watched port: each is counted once, by how it
//! ended. Every TCP socket of every network namespace counts. The same transitions
//! tell of a backend's own sockets which handshakes they have completed.
//!
//! `inet_sock_set_state` alone decides about dials that got as far as SYN_SENT:
//! only a dial leaves that state, and how it leaves says how the dial ended.
//! Nothing is kept until then, so that a beginning that the kernel did not show
//! (the program was running on that CPU already) costs no count.
//! What it cannot see is a dial that fails inside connect(2): no route (there is
//! no transition), or no free port (there is no errno yet). For these, hooks at
//! `tcp_v4_connect` and `tcp_v6_connect` mark the thread while it is inside, and
//! the return value decides. Without those hooks dials that fail before SYN_SENT
//! are not counted, and those that fail behind it without a SYN sent are taken
//! for `no_source`.

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::{HashMap, LruHashMap},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use aya_log_ebpf::debug;
use tracer_common::{
    counters::{Cell, Tally},
    flow::FlowKey,
    words::{LocalOutcome, Lost},
};

use crate::{
    backends, connects, flows,
    kernel::{Sock, tcp},
    maps, nat, own,
    rows::Port,
};

/// Dials in SYN_RECV by socket: the peer's SYN crossed theirs (simultaneous open,
/// RFC 9293, section 3.5). All others in that state are passive opens.
#[map]
static CROSSED: HashMap<u64, u8> = HashMap::with_max_entries(256, 0);
/// Established dials that the wire tap follows too, by socket. The tap forgets
/// a connection at its RST, before the RST gets to the socket's hooks. An entry
/// outlives its socket, whose RST may come after the transition to CLOSE, until
/// it is displaced or a new dial takes the address.
#[map]
static FOLLOWED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1024, 0);

/// C: void inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)
#[btf_tracepoint]
pub fn set_state(ctx: BtfTracePointContext) -> i32 {
    on_state(&ctx, Sock(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    0
}

/// [`set_state`] without BTF.
#[raw_tracepoint]
pub fn set_state_raw(ctx: RawTracePointContext) -> i32 {
    on_state(&ctx, Sock(ctx.arg(0)), ctx.arg(1), ctx.arg(2));
    0
}

#[inline(always)]
fn on_state(ctx: &impl EbpfContext, sock: Sock, old: i32, new: i32) {
    match (old, new) {
        (tcp::CLOSE, tcp::SYN_SENT) => began(sock),
        (tcp::SYN_SENT, tcp::SYN_RECV) => crossed(sock),
        (tcp::SYN_SENT, _) => ended(ctx, sock, new),
        (tcp::SYN_RECV, _) if CROSSED.get_ptr(sock.id()).is_some() => {
            // It was there; no other program removes it.
            let _ = CROSSED.remove(sock.id());
            ended(ctx, sock, new);
        }
        (tcp::SYN_RECV, tcp::ESTABLISHED) => opened(sock),
        _ => {}
    }
}

/// A passive open: of a server behind a watched port, or of any other.
#[inline(always)]
fn opened(sock: Sock) {
    let Some(port) = sock.local_port().filter(|port| backends::may_have(*port)) else {
        return;
    };
    if let (Some(ends), Some(next)) = (sock.server_key(port), sock.expects()) {
        nat::opened(&ends, next);
    }
}

/// The port that a socket dials and the position of its counters, if it is watched, at
/// an address of this node or of a Service.
#[inline(always)]
fn dialed(sock: Sock) -> Option<(u16, u16)> {
    let port = sock.remote_port()?;
    let slot = maps::slot_of(port)?;
    let is_ours = sock.is_tcp() && own::is_dialled(&sock.remote_addr()?, sock);
    is_ours.then_some((port, slot))
}

/// The destination port is set already, the source port is not.
#[inline(always)]
fn began(sock: Sock) {
    if dialed(sock).is_none() {
        return;
    }
    connects::began(sock);
    if FOLLOWED.get_ptr(sock.id()).is_some() {
        // What is noted under this address belongs to a socket that is gone.
        let _ = FOLLOWED.remove(sock.id());
    }
}

#[inline(always)]
fn crossed(sock: Sock) {
    if dialed(sock).is_some() && CROSSED.insert(sock.id(), 1, 0).is_err() {
        maps::lost(Lost::Dials);
    }
}

#[inline(always)]
fn ended(ctx: &impl EbpfContext, sock: Sock, new: i32) {
    let Some((port, slot)) = dialed(sock) else {
        return;
    };
    let unsent = new == tcp::CLOSE && sock.error() == 0 && sock.packets_out() == Some(0);
    if connects::fails_inside(sock, unsent) {
        return;
    }
    let outcome = match new {
        tcp::ESTABLISHED => {
            mark_followed(sock, port);
            LocalOutcome::Established
        }
        tcp::CLOSE => closed(sock),
        // From SYN_RECV by close(2): the process gave up.
        _ => LocalOutcome::Cancelled,
    };
    debug!(ctx, "dial to port {} ended: {}", port, outcome.as_str());
    count(slot, outcome);
}

#[inline(always)]
fn mark_followed(sock: Sock, port: u16) {
    let Some(key) = sock.dial_key(port) else {
        return;
    };
    if flows::peek(&key).is_some() {
        // Displaces the oldest when full; cannot fail otherwise.
        let _ = FOLLOWED.insert(sock.id(), 1, 0);
    }
}

/// Whether the wire tap follows the dial with this flow key, or did until its RST.
#[inline(always)]
pub fn followed(sock: Sock, key: &FlowKey) -> bool {
    flows::peek(key).is_some() || FOLLOWED.get_ptr(sock.id()).is_some()
}

/// The error is set before the transition in every path that sets one:
/// `tcp_reset`, `tcp_v4_err`, `tcp_v6_err`, `tcp_write_err`, `tcp_abort`.
/// Without one the process closed the socket, maybe because it was told of an
/// ICMP error: one that comes while the socket is in use does not close it.
/// On a path through this kernel alone that is the rule, since then the answer
/// arrives before connect(2) returns.
#[inline(always)]
fn closed(sock: Sock) -> LocalOutcome {
    match sock.error() {
        0 if sock.packets_out() == Some(0) && !connects::hooked() => LocalOutcome::NoSource,
        0 => sock.icmp_error().map_or(LocalOutcome::Cancelled, by_errno),
        errno => by_errno(errno),
    }
}

/// The class of a positive errno (`include/uapi/asm-generic/errno.h`, the same
/// on x86_64 and arm64).
#[inline(always)]
pub fn by_errno(errno: i32) -> LocalOutcome {
    match errno {
        // EPERM, EACCES
        1 | 13 => LocalOutcome::Denied,
        // EADDRINUSE, EADDRNOTAVAIL
        98 | 99 => LocalOutcome::NoSource,
        // ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH
        100 | 101 | 112 | 113 => LocalOutcome::Unreachable,
        // ETIMEDOUT
        110 => LocalOutcome::TimedOut,
        // ECONNREFUSED
        111 => LocalOutcome::Refused,
        _ => LocalOutcome::Error,
    }
}

#[inline(always)]
pub fn count(slot: u16, outcome: LocalOutcome) {
    if let Some(mut port) = Port::of(slot) {
        port.count(Cell::local_connect(outcome));
    }
}
