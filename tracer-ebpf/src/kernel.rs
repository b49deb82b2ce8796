//! Reads the kernel's own structs; the only module that does.
//!
//! Contract: every pointer comes from a hook's arguments, or from a struct found
//! by them, and points to a live `struct sock` (or `request_sock`, `sk_buff`,
//! `nf_conn`, `sockaddr`) for as long as the program runs, but nothing is ever
//! dereferenced: `bpf_probe_read_kernel` copies, and fails on a bad address
//! instead of faulting. (Direct loads through BTF pointers are quicker, but 6.12
//! refuses most: `SkBuff::conntrack_by_load` is the one that is tried.) Where a
//! member stands is the daemon's business: it resolves the offsets below from the
//! kernel's BTF and leaves [`ABSENT`] in what this kernel lacks, which reads as
//! `None`.

pub mod namespace;
pub mod packet;

use aya_ebpf::{EbpfContext, Global, helpers::bpf_probe_read_kernel};
use tracer_common::flow::{Addr, FlowKey};

/// The offset of a member that this kernel does not have.
const ABSENT: u16 = 0xffff;

// Members of `struct sock_common`, with which `struct sock` and
// `struct request_sock` begin (the daemon checks that they do); of `struct sock`,
// with which `struct inet_sock` and `struct tcp_sock` begin; of these.
#[unsafe(no_mangle)]
static SKC_DADDR: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_RCV_SADDR: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_DPORT: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_NUM: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_FAMILY: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_STATE: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_V6_DADDR: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_V6_RCV_SADDR: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SK_PROTOCOL: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SK_ERR: Global<u16> = Global::new(ABSENT);
/// `sk_error_queue.qlen` and `.prev`: the newest entry.
#[unsafe(no_mangle)]
static SK_ERRORS: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SK_LAST_ERROR: Global<u16> = Global::new(ABSENT);
/// `sk_buff.cb`, which in that queue is a `struct sock_exterr_skb`.
#[unsafe(no_mangle)]
static SKB_CB: Global<u16> = Global::new(ABSENT);
/// `ee.ee_errno` in there.
#[unsafe(no_mangle)]
static EXTERR_ERRNO: Global<u16> = Global::new(ABSENT);
/// `ee.ee_origin` in there.
#[unsafe(no_mangle)]
static EXTERR_ORIGIN: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static INET_SPORT: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static TCP_PACKETS_OUT: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static TCP_RCV_NXT: Global<u16> = Global::new(ABSENT);
/// `tcp_request_sock.rcv_isn`
#[unsafe(no_mangle)]
static REQUEST_ISN: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKB_LEN: Global<u16> = Global::new(ABSENT);

/// Address families (socket(2)).
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`; MPTCP's own sockets have another number, their subflows this.
const IPPROTO_TCP: u16 = 6;

/// States of a TCP socket (`include/net/tcp_states.h`).
pub mod tcp {
    /// `TCP_ESTABLISHED`
    pub const ESTABLISHED: i32 = 1;
    /// `TCP_SYN_SENT`
    pub const SYN_SENT: i32 = 2;
    /// `TCP_SYN_RECV`
    pub const SYN_RECV: i32 = 3;
    /// `TCP_TIME_WAIT`: a `struct inet_timewait_sock`, shorter than a socket.
    pub const TIME_WAIT: i32 = 6;
    /// `TCP_CLOSE`
    pub const CLOSE: i32 = 7;
    /// `TCP_NEW_SYN_RECV`: a `struct request_sock`, shorter than a socket.
    pub const NEW_SYN_RECV: i32 = 12;
}

/// A pointer among a tracepoint's arguments that may be NULL. Some verifiers
/// trust one that is loaded directly never to be that, and drop the check for it
/// (`reg_not_null`).
#[inline(always)]
pub fn nullable(ctx: &impl EbpfContext, argument: usize) -> *const u8 {
    let place = ctx.as_ptr().cast::<u64>().wrapping_add(argument);
    // SAFETY: the helper copies or fails, whatever the address.
    let pointer = unsafe { bpf_probe_read_kernel(place.cast_const()) };
    pointer.unwrap_or(0) as *const u8
}

/// Copies the member at `offset` of the struct at `base`.
#[inline(always)]
fn read<T>(base: *const u8, offset: &Global<u16>) -> Option<T> {
    let offset = offset.load();
    if offset == ABSENT {
        return None;
    }
    // SAFETY: the helper copies or fails, whatever the address; `T` is an
    // integer or an array of integers, for which any bytes are valid.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(usize::from(offset)).cast()) }.ok()
}

/// `struct sock`, or what begins with a `struct sock_common`.
#[derive(Clone, Copy)]
pub struct Sock(pub *const u8);

impl Sock {
    /// The address, which names the socket as long as it lives.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.0 as u64
    }

    /// A TCP socket or subflow.
    #[inline(always)]
    pub fn is_tcp(self) -> bool {
        read(self.0, &SK_PROTOCOL) == Some(IPPROTO_TCP)
    }

    /// One of [`tcp`].
    #[inline(always)]
    pub fn state(self) -> Option<i32> {
        read::<u8>(self.0, &SKC_STATE).map(i32::from)
    }

    /// The peer's port, host byte order.
    #[inline(always)]
    pub fn remote_port(self) -> Option<u16> {
        read(self.0, &SKC_DPORT).map(u16::from_be)
    }

    /// The own port of a connected socket, host byte order. Unlike `skc_num`
    /// it outlives the transition to CLOSE.
    #[inline(always)]
    pub fn local_port(self) -> Option<u16> {
        read(self.0, &INET_SPORT).map(u16::from_be)
    }

    /// The own port of a `request_sock`, host byte order.
    #[inline(always)]
    pub fn request_port(self) -> Option<u16> {
        read(self.0, &SKC_NUM)
    }

    /// The client's initial sequence number, of a `request_sock`.
    #[inline(always)]
    pub fn request_isn(self) -> Option<u32> {
        read(self.0, &REQUEST_ISN)
    }

    /// The sequence number that a TCP socket expects next.
    #[inline(always)]
    pub fn expects(self) -> Option<u32> {
        read(self.0, &TCP_RCV_NXT)
    }

    /// The pending error: a positive errno, or 0.
    #[inline(always)]
    pub fn error(self) -> i32 {
        read(self.0, &SK_ERR).unwrap_or(0)
    }

    /// The errno of the last ICMP error that met a dial (`ip_icmp_error`).
    #[inline(always)]
    pub fn icmp_error(self) -> Option<i32> {
        const SO_EE_ORIGIN_ICMP: u8 = 2;
        const SO_EE_ORIGIN_ICMP6: u8 = 3;
        if read::<u32>(self.0, &SK_ERRORS)? == 0 {
            return None;
        }
        let skb: u64 = read(self.0, &SK_LAST_ERROR)?;
        let cb = (skb as *const u8).wrapping_add(usize::from(SKB_CB.load()));
        match read(cb, &EXTERR_ORIGIN)? {
            SO_EE_ORIGIN_ICMP | SO_EE_ORIGIN_ICMP6 => read(cb, &EXTERR_ERRNO),
            _ => None,
        }
    }

    /// Segments sent and not acknowledged, the SYN included.
    #[inline(always)]
    pub fn packets_out(self) -> Option<u32> {
        read(self.0, &TCP_PACKETS_OUT)
    }

    /// The own address.
    #[inline(always)]
    pub fn local_addr(self) -> Option<Addr> {
        self.addr(&SKC_RCV_SADDR, &SKC_V6_RCV_SADDR)
    }

    /// The peer's address.
    #[inline(always)]
    pub fn remote_addr(self) -> Option<Addr> {
        self.addr(&SKC_DADDR, &SKC_V6_DADDR)
    }

    #[inline(always)]
    fn addr(self, v4: &Global<u16>, v6: &Global<u16>) -> Option<Addr> {
        match read(self.0, &SKC_FAMILY)? {
            AF_INET => read(self.0, v4).map(Addr::mapped),
            AF_INET6 => read(self.0, v6).map(Addr),
            _ => None,
        }
    }

    /// The flow that the wire tap has of a dial: this socket is the client.
    #[inline(always)]
    pub fn dial_key(self, node_port: u16) -> Option<FlowKey> {
        Some(FlowKey {
            client: self.local_addr()?,
            node: self.remote_addr()?,
            client_port: self.local_port()?,
            node_port,
        })
    }

    /// The ends of the connection of a server's socket or `request_sock` whose
    /// own port that is: its peer is the client.
    #[inline(always)]
    pub fn server_key(self, node_port: u16) -> Option<FlowKey> {
        Some(FlowKey {
            client: self.remote_addr()?,
            node: self.local_addr()?,
            client_port: self.remote_port()?,
            node_port,
        })
    }
}

/// The port in an IPv4 or IPv6 socket address, host byte order; `len` is the
/// caller's `addr_len` in bytes.
#[inline(always)]
pub fn sockaddr_port(addr: *const u8, len: i32) -> Option<u16> {
    const SOCKADDR_IN_LEN: i32 = 16;
    if len < SOCKADDR_IN_LEN {
        return None;
    }
    // SAFETY: the helper copies or fails, whatever the address. Family and port
    // stand alike in `sockaddr_in` and `sockaddr_in6` (ABI to user programs).
    let [family, port]: [u16; 2] = unsafe { bpf_probe_read_kernel(addr.cast()) }.ok()?;
    (family == AF_INET || family == AF_INET6).then_some(u16::from_be(port))
}

/// The address in what [`sockaddr_port`] took for a socket address.
#[inline(always)]
pub fn sockaddr_ip(addr: *const u8) -> Option<Addr> {
    // SAFETY: the helper copies or fails, whatever the address.
    let family: u16 = unsafe { bpf_probe_read_kernel(addr.cast()) }.ok()?;
    if family == AF_INET {
        // SAFETY: as above; `sockaddr_in.sin_addr`.
        let word = unsafe { bpf_probe_read_kernel(addr.wrapping_add(4).cast()) };
        return word.ok().map(Addr::mapped);
    }
    // SAFETY: as above; `sockaddr_in6.sin6_addr`.
    let words = unsafe { bpf_probe_read_kernel(addr.wrapping_add(8).cast()) };
    words.ok().map(Addr)
}

/// Bytes of payload in a queued segment (`sk_buff.len`, no header pushed yet).
#[inline(always)]
pub fn segment_len(skb: *const u8) -> Option<u32> {
    read(skb, &SKB_LEN)
}
