//! From a captured packet to its IP header: link-layer headers, as the
//! registry of tcpdump.org describes them.

use std::cell::Cell;

use tracer_common::{
    first_bytes::{Chunk, Payload},
    packet::{self, Link, Packet, ethertype},
};

use super::capture::{Direction, Record, array};

const NULL: u16 = 0;
const ETHERNET: u16 = 1;
const LOOP: u16 = 108;
const LINUX_SLL: u16 = 113;
const LINUX_SLL2: u16 = 276;
/// LINKTYPE_RAW, and DLT_RAW where that has another number.
const RAW: [u16; 3] = [101, 12, 14];
const IPV4: u16 = 228;
const IPV6: u16 = 229;

/// ARPHRD_LOOPBACK (include/uapi/linux/if_arp.h).
const ARPHRD_LOOPBACK: u16 = 772;
/// PACKET_OUTGOING (include/uapi/linux/if_packet.h).
const PACKET_OUTGOING: u8 = 4;

/// The bytes of a packet, as far as they were captured.
pub(crate) struct Captured<'a> {
    bytes: &'a [u8],
    original: u32,
    /// Something was asked for that the packet had but the capture has not.
    short: Cell<bool>,
}

impl<'a> Captured<'a> {
    fn new(record: &Record<'a>) -> Self {
        Self {
            bytes: record.bytes,
            original: record.original,
            short: Cell::new(false),
        }
    }

    /// Nothing of it lies beyond `end`: what follows is padding.
    pub(crate) fn ends(&mut self, end: u32) {
        let kept = self.bytes.len().min(end as usize);
        self.bytes = self.bytes.get(..kept).unwrap_or_default();
        self.original = self.original.min(end);
    }

    /// It has reached to `end` before something cut it.
    pub(crate) fn reaches(&mut self, end: u32) {
        self.original = self.original.max(end);
    }

    /// Whether the capture was too short for what was asked for so far.
    pub(crate) fn was_short(&self) -> bool {
        self.short.get()
    }

    /// `N` bytes from `offset`; `None` past the end of what was captured.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let bytes = self.bytes.get(offset as usize..);
        self.noting(offset, N, bytes.and_then(<[u8]>::first_chunk).copied())
    }

    /// The same of what may not be there.
    pub(crate) fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let bytes = self.bytes.get(offset as usize..)?;
        bytes.first_chunk().copied()
    }

    /// What was `found` of `len` bytes at `offset`.
    #[inline(always)]
    fn noting<T>(&self, offset: u32, len: usize, found: Option<T>) -> Option<T> {
        if found.is_none() && (offset as usize).saturating_add(len) <= self.original as usize {
            self.short.set(true);
        }
        found
    }

    /// The TCP payload of `len` bytes at `offset`.
    pub(crate) fn payload(&self, offset: u32, len: u32) -> Cut<'a> {
        let bytes = self.bytes.get(offset as usize..).unwrap_or_default();
        let have = bytes.len().min(len as usize);
        Cut {
            bytes: bytes.get(..have).unwrap_or_default(),
            len,
            missed: Cell::new(false),
        }
    }
}

impl Packet for Captured<'_> {
    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        self.noting(offset, 2, packet::half(self.bytes, offset))
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.noting(offset, 4 * N, packet::words(self.bytes, offset))
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.original
    }
}

/// A payload of which only the beginning may have been captured.
pub(crate) struct Cut<'a> {
    bytes: &'a [u8],
    len: u32,
    /// What was not captured would have decided something.
    missed: Cell<bool>,
}

impl Cut<'_> {
    /// Whether a class could not be told for want of bytes.
    pub(crate) fn was_missed(&self) -> bool {
        self.missed.get()
    }
}

impl Payload for Cut<'_> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    fn read(&self, offset: u32) -> Chunk {
        self.bytes.read(offset)
    }

    #[inline(always)]
    fn is_cut(&self) -> bool {
        let cut = self.bytes.len() < self.len as usize;
        self.missed.set(cut);
        cut
    }
}

/// A packet behind its link-layer header.
pub(crate) struct Frame<'a> {
    /// The bytes, link-layer header included.
    pub(crate) packet: Captured<'a>,
    /// What follows the headers read so far, and where: see
    /// [`super::encapsulation::innermost`].
    pub(crate) link: Link,
    /// The interface: its index on the host, or its number in the file plus one; of a
    /// packet that was encapsulated, a number that stands for the whole way.
    pub(crate) ifindex: u32,
    /// Which way it went.
    pub(crate) direction: Direction,
    /// It may have come by any of several interfaces, which are not told apart.
    pub(crate) any_interface: bool,
    /// It was inside another IP packet.
    pub(crate) encapsulated: bool,
}

/// Why a packet has no IP header that could be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// A link type that is not known here.
    LinkType(u16),
    /// Cut short within the link-layer header.
    Short,
    /// On the loopback interface, of a capture of all interfaces.
    Loopback,
    /// Another protocol than IP.
    NotIp,
}

/// Reads the link-layer header.
#[inline]
pub(crate) fn frame<'a>(record: &Record<'a>) -> Result<Frame<'a>, NoFrame> {
    let packet = Captured::new(record);
    let mut frame = Frame {
        packet,
        link: Link {
            ethertype: 0,
            offset: 0,
        },
        ifindex: record.interface,
        direction: record.direction,
        any_interface: false,
        encapsulated: false,
    };
    frame.link = match record.link_type {
        ETHERNET => packet::ethernet(&frame.packet).map_err(|_| NoFrame::Short)?,
        LINUX_SLL => cooked(&mut frame)?,
        LINUX_SLL2 => cooked_v2(&mut frame)?,
        NULL | LOOP => raw(&frame.packet, 4)?,
        IPV4 | IPV6 => raw(&frame.packet, 0)?,
        other if RAW.contains(&other) => raw(&frame.packet, 0)?,
        other => return Err(NoFrame::LinkType(other)),
    };
    Ok(frame)
}

/// The IP version stands in the first four bits.
fn raw(packet: &Captured<'_>, offset: u32) -> Result<Link, NoFrame> {
    let [first] = packet.load(offset).ok_or(NoFrame::Short)?;
    let ethertype = match first >> 4 {
        4 => ethertype::IPV4,
        6 => ethertype::IPV6,
        _ => return Err(NoFrame::NotIp),
    };
    Ok(Link { ethertype, offset })
}

/// LINKTYPE_LINUX_SLL: packet type, ARPHRD, length and address of the sender,
/// protocol.
fn cooked(frame: &mut Frame<'_>) -> Result<Link, NoFrame> {
    let head: [u8; 16] = frame.packet.load(0).ok_or(NoFrame::Short)?;
    if u16::from_be_bytes(array(&head, 2)) == ARPHRD_LOOPBACK {
        return Err(NoFrame::Loopback);
    }
    let [_, kind] = array(&head, 0);
    frame.direction = direction(kind);
    frame.any_interface = true;
    Ok(Link {
        ethertype: u16::from_be_bytes(array(&head, 14)),
        offset: 16,
    })
}

/// LINKTYPE_LINUX_SLL2: protocol, interface, ARPHRD, packet type.
fn cooked_v2(frame: &mut Frame<'_>) -> Result<Link, NoFrame> {
    let head: [u8; 20] = frame.packet.load(0).ok_or(NoFrame::Short)?;
    if u16::from_be_bytes(array(&head, 8)) == ARPHRD_LOOPBACK {
        return Err(NoFrame::Loopback);
    }
    let [kind] = array(&head, 10);
    frame.direction = direction(kind);
    // 0 would stand for no interface at all.
    frame.ifindex = u32::from_be_bytes(array(&head, 4)).max(1);
    Ok(Link {
        ethertype: u16::from_be_bytes(array(&head, 0)),
        offset: 20,
    })
}

fn direction(packet_type: u8) -> Direction {
    if packet_type == PACKET_OUTGOING {
        Direction::Out
    } else {
        Direction::In
    }
}
