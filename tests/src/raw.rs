//! A client below TCP: it writes frames on the client's `eth0` and reads what
//! comes back. Netfilter of the client does not see what it sends.
//!
//! Use [`crate::addr::phantom_v4`] and `phantom_v6` as sources: the client's
//! kernel owns none of them, so it answers nothing by itself.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt},
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::{
    addr::{CLIENT_MAC, NODE_MAC},
    netns::Netns,
    segment::{Parsed, Segment, flags, frame, parse},
};

/// How long an answer inside one machine may take before it counts as none.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What came back for a raw SYN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// SYN-ACK with this sequence number.
    SynAck(u32),
    /// RST.
    Rst,
    /// Nothing from TCP in time.
    None,
}

/// A packet socket on one interface.
#[derive(Debug)]
pub struct RawClient {
    socket: File,
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
}

impl RawClient {
    /// Opens the client's `eth0` in a [`crate::Topology`], towards the node.
    pub fn open(client: &Netns) -> Result<Self> {
        Self::open_on(client, "eth0", CLIENT_MAC, NODE_MAC)
    }

    /// Opens `interface` of `ns`; frames go from `src_mac` to `dst_mac`.
    pub fn open_on(
        ns: &Netns,
        interface: &str,
        src_mac: [u8; 6],
        dst_mac: [u8; 6],
    ) -> Result<Self> {
        let socket = ns.enter(|| packet_socket(interface, libc::ETH_P_ALL))?;
        Ok(Self {
            socket: socket.with_context(|| format!("open {interface}"))?.into(),
            src_mac,
            dst_mac,
        })
    }

    /// Sends a segment.
    pub fn send(&self, segment: &Segment) -> Result<()> {
        self.send_frame(&segment.frame(self.dst_mac, self.src_mac))
    }

    /// Sends an IP packet (a fragment, an ICMP message).
    pub fn send_ip(&self, ip: &[u8]) -> Result<()> {
        self.send_frame(&frame(self.dst_mac, self.src_mac, &[], ip))
    }

    /// Sends a whole Ethernet frame.
    pub fn send_frame(&self, bytes: &[u8]) -> Result<()> {
        let start = Instant::now();
        loop {
            match (&self.socket).write(bytes) {
                Ok(_) => return Ok(()),
                // The device queue is full: a flood has to wait its turn.
                Err(e)
                    if e.raw_os_error() == Some(libc::ENOBUFS)
                        && start.elapsed() < ANSWER_LIMIT =>
                {
                    std::thread::yield_now();
                }
                Err(e) => return Err(e).context("send a frame"),
            }
        }
    }

    /// The first received segment that `wanted` accepts, within `limit`.
    pub fn receive(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&Parsed) -> bool,
    ) -> Result<Option<Parsed>> {
        let start = Instant::now();
        let mut buffer = [0u8; 65536];
        while start.elapsed() < limit {
            match (&self.socket).read(&mut buffer) {
                Ok(size) => {
                    let own = buffer.get(6..12) == Some(&self.src_mac[..]);
                    let found = parse(buffer.get(14..size).unwrap_or(&[]));
                    if let Some(segment) = found.filter(|s| !own && wanted(s)) {
                        return Ok(Some(segment));
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e).context("receive a frame"),
            }
        }
        Ok(None)
    }

    /// Sends one SYN and leaves it at that. The same `isn` again is a
    /// retransmission, another one a new attempt.
    pub fn syn_only(&self, src: SocketAddr, dst: SocketAddr, isn: u32) -> Result<()> {
        self.send(&Segment::syn(src, dst, isn))
    }

    /// Sends a SYN and returns the answer, which goes unacknowledged.
    pub fn syn(&self, src: SocketAddr, dst: SocketAddr, isn: u32) -> Result<Answer> {
        self.syn_only(src, dst, isn)?;
        let answer = self.receive(ANSWER_LIMIT, |s| {
            s.src == dst && s.dst == src && s.ack == isn.wrapping_add(1)
        })?;
        Ok(match answer {
            Some(s) if s.flags & flags::RST != 0 => Answer::Rst,
            Some(s) if s.flags & flags::SYN != 0 => Answer::SynAck(s.seq),
            _ => Answer::None,
        })
    }

    /// SYN, SYN-ACK, RST: a health check as HAProxy makes it, without the
    /// final ACK. Returns the answer; the RST follows a SYN-ACK only.
    pub fn half_open(&self, src: SocketAddr, dst: SocketAddr, isn: u32) -> Result<Answer> {
        let answer = self.syn(src, dst, isn)?;
        if let Answer::SynAck(seq) = answer {
            let flags = flags::RST | flags::ACK;
            let (next, ack) = (isn.wrapping_add(1), seq.wrapping_add(1));
            self.send(&Segment::new(src, dst, flags, next, ack))?;
        }
        Ok(answer)
    }

    /// A SYN and at once a segment with `flags` (RST or FIN). The node answers
    /// a SYN while it is being sent, so the port has to be one that is silent.
    pub fn cancelled(&self, src: SocketAddr, dst: SocketAddr, isn: u32, flags: u8) -> Result<()> {
        self.syn_only(src, dst, isn)?;
        self.send(&Segment::new(src, dst, flags, isn.wrapping_add(1), 0))
    }
}

/// A packet socket that sends on `interface` and receives `protocol` there
/// (`libc::ETH_P_…`), nothing with 0.
pub(crate) fn packet_socket(interface: &str, protocol: libc::c_int) -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .context("packet socket (needs CAP_NET_RAW)")?;
    let index = if_nametoindex(interface).context("interface index")?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: u16::try_from(protocol)?.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of_val(&address))?;
    // SAFETY: the pointer and the length describe one live sockaddr_ll.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(bound).context("bind")?;
    // Short, so that `receive` looks at its limit often enough.
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50))?;
    Ok(socket)
}

/// Sends a segment from `ns` as its own kernel would route it: through its
/// output hooks and its neighbour table. IPv4 only.
pub fn send_routed(ns: &Netns, segment: &Segment) -> Result<()> {
    use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};
    let socket = ns.enter(|| {
        socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            nix::sys::socket::SockProtocol::Raw,
        )
    })?;
    let socket = socket.context("raw socket (needs CAP_NET_RAW)")?;
    let bytes = segment.ip_bytes();
    let to = SockaddrStorage::from(SocketAddr::new(segment.dst.ip(), 0));
    sendto(socket.as_raw_fd(), &bytes, &to, MsgFlags::empty()).context("send a packet")?;
    Ok(())
}
