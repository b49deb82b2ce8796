//! Raw senders of frames by the hundred thousand: SYNs, each an attempt of its
//! own, from IPv4 sources that no kernel owns; or whatever else.

use std::{
    io::IoSlice,
    net::SocketAddrV4,
    ops::{Range, RangeInclusive},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg},
};

use crate::{
    addr::{CLIENT_MAC, NODE_MAC, phantom_v4},
    netns::Netns,
    raw::packet_socket,
    segment::{Segment, frame},
};

/// Frames per system call.
const BATCH: usize = 64;

// Offsets in an Ethernet frame with an IPv4 header without options.
const IP_SUM: usize = 24;
const IP_SRC: usize = 26;
const TCP_SRC: usize = 34;
const TCP_SEQ: usize = 38;
const TCP_SUM: usize = 50;

/// Sends one SYN per number to `to`, from the client's `eth0` in a
/// [`crate::Topology`], at up to `rate` a second. The number makes the source
/// address (a phantom), its port and the initial sequence number; below 2^20
/// no two have an address in common. Returns the time taken.
pub fn syns(client: &Netns, to: SocketAddrV4, numbers: Range<u32>, rate: u32) -> Result<Duration> {
    let socket = client.enter(|| packet_socket("eth0", 0))??;
    let first = SocketAddrV4::new(phantom_v4(0), 0);
    let template = Segment::syn(first.into(), to.into(), 0).frame(NODE_MAC, CLIENT_MAC);
    let mut frames = vec![template; BATCH];
    let start = Instant::now();
    for first in numbers.clone().step_by(BATCH) {
        let of_batch = first..numbers.end;
        let mut count = 0;
        for (frame, number) in frames.iter_mut().zip(of_batch) {
            stamp(frame, number);
            count += 1;
        }
        send_all(&socket, frames.get(..count).unwrap_or(&frames))?;
        let sent = f64::from(first - numbers.start) + count as f64;
        let due = Duration::from_secs_f64(sent / f64::from(rate));
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(start.elapsed())
}

/// The same; returns how many left. What a link has no room for is told to the sender, who
/// sends it again, from Linux 6.6 on; before that it is lost.
pub fn syns_that_left(
    client: &Netns,
    to: SocketAddrV4,
    numbers: Range<u32>,
    rate: u32,
) -> Result<RangeInclusive<f64>> {
    let before = client.send_drops("eth0")?;
    let time = syns(client, to, numbers.clone(), rate)?;
    let dropped = client.send_drops("eth0")? - before;
    let all = f64::from(numbers.end - numbers.start);
    eprintln!("{all} SYNs in {time:.1?}, {dropped} dropped by the link");
    Ok(all - dropped as f64..=all)
}

/// Sends frames between client and node in a [`crate::Topology`], from either
/// side.
#[derive(Debug)]
pub struct Frames {
    socket: OwnedFd,
    to: [u8; 6],
    from: [u8; 6],
}

impl Frames {
    /// From the client's `eth0`.
    pub fn to_node(client: &Netns) -> Result<Self> {
        Self::open(client, NODE_MAC, CLIENT_MAC)
    }

    /// From the node's `eth0`, where its tap sees them leave.
    pub fn from_node(node: &Netns) -> Result<Self> {
        Self::open(node, CLIENT_MAC, NODE_MAC)
    }

    fn open(ns: &Netns, to: [u8; 6], from: [u8; 6]) -> Result<Self> {
        let socket = ns.enter(|| packet_socket("eth0", 0))??;
        Ok(Self { socket, to, from })
    }

    /// Sends segments, one after the other.
    pub fn send(&self, segments: impl IntoIterator<Item = Segment>) -> Result<()> {
        self.send_ip(segments.into_iter().map(|segment| segment.ip_bytes()))
    }

    /// Sends IP packets, whatever is in them.
    pub fn send_ip(&self, packets: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        let whole = |ip: Vec<u8>| frame(self.to, self.from, &[], &ip);
        self.send_frames(packets.into_iter().map(whole))
    }

    /// Sends whole frames, 14 bytes or more.
    pub fn send_frames(&self, frames: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() {
            let batch: Vec<Vec<u8>> = frames.by_ref().take(BATCH).collect();
            send_all(&self.socket, &batch)?;
        }
        Ok(())
    }
}

fn send_all(socket: &OwnedFd, frames: &[Vec<u8>]) -> Result<()> {
    let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|f| [IoSlice::new(f)]).collect();
    let mut rest = slices.as_slice();
    while !rest.is_empty() {
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(rest.len(), None);
        let addresses = vec![None; rest.len()];
        let flags = MsgFlags::empty();
        let sent = sendmmsg(socket.as_raw_fd(), &mut headers, rest, addresses, [], flags);
        match sent.map(Iterator::count) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            // The device queue is full: a flood has to wait its turn.
            Err(Errno::ENOBUFS | Errno::EINTR) => std::thread::yield_now(),
            Err(errno) => return Err(errno).context("send frames"),
        }
    }
    Ok(())
}

/// Makes the frame of SYN `number` out of that of another one.
fn stamp(frame: &mut [u8], number: u32) {
    let port = 1024 + u16::try_from(number % 60_000).unwrap_or(0);
    let source = phantom_v4(number).octets();
    put(frame, IP_SRC, &source, &[IP_SUM, TCP_SUM]);
    put(frame, TCP_SRC, &port.to_be_bytes(), &[TCP_SUM]);
    put(frame, TCP_SEQ, &number.to_be_bytes(), &[TCP_SUM]);
}

/// Writes 16-bit words and corrects the checksums that cover them (RFC 1624,
/// equation 3).
fn put(frame: &mut [u8], at: usize, words: &[u8], sums: &[usize]) {
    for (i, new) in words.chunks_exact(2).enumerate() {
        let at = at + 2 * i;
        for sum in sums {
            let kept = !word(frame, *sum);
            let mut total = u32::from(kept) + u32::from(!word(frame, at));
            total += u32::from(word(new, 0));
            while total > 0xffff {
                total = (total & 0xffff) + (total >> 16);
            }
            let total = u16::try_from(total).unwrap_or(0);
            frame[*sum..sum + 2].copy_from_slice(&(!total).to_be_bytes());
        }
        frame[at..at + 2].copy_from_slice(new);
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::NODE_V4;

    #[test]
    fn stamped_frames_are_as_if_built() {
        let to = SocketAddrV4::new(NODE_V4, 30080);
        let build = |number: u32| {
            let port = 1024 + u16::try_from(number % 60_000).unwrap();
            let from = SocketAddrV4::new(phantom_v4(number), port);
            Segment::syn(from.into(), to.into(), number).frame(NODE_MAC, CLIENT_MAC)
        };
        let mut frame = build(0);
        for number in [0, 1, 59_999, 60_000, 777_777, (1 << 20) - 1] {
            stamp(&mut frame, number);
            assert_eq!(frame, build(number), "{number}");
        }
    }
}
