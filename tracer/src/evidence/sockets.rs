//! TCP sockets of a network namespace over sock_diag(7).

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

use nix::sys::socket::SockProtocol;

use super::{
    Listener, Pod,
    netlink::{Attributes, Failed, Request, Socket, u32_at},
};

/// linux/inet_diag.h: the request that answers for IPv4 and IPv6 in one pass,
/// which matters since the kernel walks the sockets of all namespaces for it.
const TCPDIAG_GETSOCK: u16 = 18;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Asks for both (`idiag_ext`).
const EXTENSIONS: u8 = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1);
/// `SK_MEMINFO_DROPS`: the ninth of 32-bit words.
const MEMINFO_DROPS: usize = 8 * 4;
/// `tcpi_bytes_received` in `struct tcp_info`.
const BYTES_RECEIVED: usize = 128;
const INET_DIAG_BC_S_GE: u8 = 2;
const INET_DIAG_BC_S_LE: u8 = 3;
/// Bytes of `struct inet_diag_msg`.
const INET_DIAG_MSG: usize = 72;
/// include/net/tcp_states.h
const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;
const CONNECTED: u32 = 1 << ESTABLISHED | 1 << CLOSE_WAIT;
/// Most ports told of one namespace.
const PORTS: usize = 256;
/// Most unread connections that are remembered of one backend.
const UNREAD: usize = 1024;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sock {
    state: u8,
    /// Own address; IPv4 also when it stands mapped in IPv6.
    address: IpAddr,
    /// Own port.
    pub port: u16,
    queue: u32,
    limit: u32,
    /// 0: no process holds it.
    pub inode: u32,
    /// Of a listening socket: [`Listener::drops`].
    drops: u32,
    /// Bytes that came, read or not.
    received: u64,
    /// An IPv6 socket that takes IPv4 too.
    dual: bool,
}

impl Sock {
    /// No process has accepted it.
    pub fn not_accepted(&self) -> bool {
        self.inode == 0
    }

    /// The peer has closed.
    pub fn close_wait(&self) -> bool {
        self.state == CLOSE_WAIT
    }

    /// A process holds it and has not read all that came. A FIN counts as one
    /// byte (`tcp_diag_get_info`).
    fn unread(&self) -> bool {
        !self.not_accepted() && self.queue > u32::from(self.close_wait())
    }

    /// The accept queue of a listening socket.
    pub fn listener(&self) -> Listener {
        Listener {
            queue: self.queue,
            limit: self.limit,
            drops: self.drops,
        }
    }

    /// Whether a listening socket can be reached at an address.
    pub fn reachable_at(&self, address: IpAddr) -> bool {
        let any = self.address.is_unspecified();
        self.address == address
            || any && self.address.is_ipv4() == address.is_ipv4()
            || any && self.dual
    }

    /// Whether a listening socket can be reached by no peer.
    pub fn loopback(&self) -> bool {
        self.address.is_loopback()
    }
}

/// Asks for sockets of the namespace that it was opened in.
pub struct Sockets(Socket);

impl Sockets {
    /// Opens it in the calling thread's network namespace.
    pub fn open() -> Result<Self, Failed> {
        Socket::open(SockProtocol::NetlinkSockDiag).map(Self)
    }

    /// All listening sockets.
    pub fn listening(&mut self, deadline: Instant) -> Result<Vec<Sock>, Failed> {
        let mut all = Vec::new();
        self.ask(&request(1 << LISTEN, 0), deadline, |sock| all.push(sock))?;
        Ok(all)
    }

    /// Sockets at the ports of a range that a peer has connected to and not
    /// reset; those that came are handed over even when not all did.
    pub fn connected(
        &mut self,
        ports: (u16, u16),
        deadline: Instant,
        each: impl FnMut(Sock),
    ) -> Result<(), Failed> {
        let (first, last) = ports;
        let request = if first == last {
            request(CONNECTED, first)
        } else {
            request(CONNECTED, 0).with(INET_DIAG_REQ_BYTECODE, &between(first, last))
        };
        self.ask(&request, deadline, each)
    }

    fn ask(
        &mut self,
        request: &Request,
        deadline: Instant,
        mut each: impl FnMut(Sock),
    ) -> Result<(), Failed> {
        self.0.ask(request, deadline, |_, payload| {
            if let Some(sock) = parse(payload) {
                each(sock);
            }
        })
    }

    /// Counts the accepted connections at a port that wait to be read, and the handshakes
    /// there that wait for their final ACK.
    pub fn waiting(&mut self, pod: &mut Pod, port: u16, deadline: Instant) -> Result<(), Failed> {
        let states = CONNECTED | 1 << SYN_RECV;
        self.ask(&request(states, port), deadline, |sock| {
            if sock.state == SYN_RECV {
                pod.syn_recv = pod.syn_recv.saturating_add(1);
                return;
            }
            pod.accepted = pod.accepted.saturating_add(u32::from(!sock.not_accepted()));
            if sock.unread() {
                pod.unread = pod.unread.saturating_add(1);
                if pod.met_unread.len() < UNREAD {
                    let read = sock.received.saturating_sub(sock.queue.into());
                    pod.met_unread.push((sock.inode, read));
                }
            }
        })
    }
}

/// Fills in what the listening sockets of a namespace tell of a backend there.
pub fn listeners(pod: &mut Pod, listening: &[Sock], address: IpAddr, port: u16) {
    let reachable = || listening.iter().filter(|s| s.reachable_at(address));
    let here = || reachable().filter(|s| s.port == port).map(Sock::listener);
    let drops = here().fold(0, |sum, l| l.drops.saturating_add(sum));
    pod.listener = here().max_by_key(fullness).map(|l| Listener { drops, ..l });
    pod.not_accepted = here().fold(0, |sum, l| sum.saturating_add(l.queue));
    let elsewhere = listening
        .iter()
        .filter(|s| s.port != port || !s.reachable_at(address));
    pod.drops_elsewhere = elsewhere.map(|s| u64::from(s.drops)).sum();
    let mut ports: Vec<u16> = reachable().map(|s| s.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(PORTS);
    pod.listens_on = ports;
    let mut at = listening
        .iter()
        .filter(|s| s.port == port)
        .map(|s| s.address);
    pod.listens_only_at = at.next().filter(|_| pod.listener.is_none());
}

/// Several sockets may share a port (SO_REUSEPORT): the fullest tells most.
pub fn fullness(listener: &Listener) -> (i64, u32) {
    let over = i64::from(listener.queue) - i64::from(listener.limit);
    (over, listener.queue)
}

/// `struct inet_diag_req`; port 0: any.
fn request(states: u32, port: u16) -> Request {
    let mut head = [0; 60];
    head[3] = EXTENSIONS;
    head[4..6].copy_from_slice(&port.to_be_bytes());
    head[52..56].copy_from_slice(&states.to_ne_bytes());
    Request::dump(TCPDIAG_GETSOCK, &head)
}

/// A filter for own ports: two tests (`struct inet_diag_bc_op`) with the port
/// in an operation that follows each. To jump 4 beyond the end is to refuse.
fn between(first: u16, last: u16) -> Vec<u8> {
    let op = |code: u8, yes: u8, no: u16| [&[code, yes][..], &no.to_ne_bytes()].concat();
    [
        op(INET_DIAG_BC_S_GE, 8, 20),
        op(0, 0, first),
        op(INET_DIAG_BC_S_LE, 8, 12),
        op(0, 0, last),
    ]
    .concat()
}

fn parse(payload: &[u8]) -> Option<Sock> {
    let (fixed, attributes) = payload.split_first_chunk::<INET_DIAG_MSG>()?;
    let [family, state, _, _, p0, p1, ..] = *fixed;
    let source = fixed.get(8..24)?;
    let address = match i32::from(family) {
        libc::AF_INET => IpAddr::from(*source.first_chunk::<4>()?),
        libc::AF_INET6 => Ipv6Addr::from(*source.first_chunk::<16>()?).to_canonical(),
        _ => return None,
    };
    let find = |kind| Attributes(attributes).find(kind);
    let v6_only = find(INET_DIAG_SKV6ONLY);
    let drops = find(INET_DIAG_SKMEMINFO).and_then(|words| u32_at(words, MEMINFO_DROPS));
    let received = find(INET_DIAG_INFO).and_then(|info| {
        let bytes = info.get(BYTES_RECEIVED..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*bytes))
    });
    Some(Sock {
        state,
        address,
        port: u16::from_be_bytes([p0, p1]),
        queue: u32_at(fixed, 56)?,
        limit: u32_at(fixed, 60)?,
        inode: u32_at(fixed, 68)?,
        drops: drops.unwrap_or(0),
        received: received.unwrap_or(0),
        dual: address.is_ipv6() && v6_only.and_then(<[u8]>::first) == Some(&0),
    })
}

#[cfg(test)]
mod tests;
