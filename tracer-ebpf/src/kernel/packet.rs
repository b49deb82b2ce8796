//! A packet as the kernel handles it, `struct sk_buff`, and conntrack's entry
//! for it, `struct nf_conn`.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use tracer_common::{
    flow::{Addr, FlowKey},
    machine::Header,
    packet::{self, Link, Packet},
};

use super::{ABSENT, read};

// Members of `struct sk_buff`.
#[unsafe(no_mangle)]
static SKB_NFCT: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKB_HEAD: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKB_NETWORK: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKB_PROTOCOL: Global<u16> = Global::new(ABSENT);
/// The byte whose lowest bits are `pkt_type`.
#[unsafe(no_mangle)]
static SKB_PKT_TYPE: Global<u16> = Global::new(ABSENT);
/// `tuplehash[IP_CT_DIR_ORIGINAL].tuple` of `struct nf_conn`: as the client sent it.
#[unsafe(no_mangle)]
static CT_ORIGINAL: Global<u16> = Global::new(ABSENT);
/// `tuplehash[IP_CT_DIR_REPLY].tuple`: as the answer is expected.
#[unsafe(no_mangle)]
static CT_REPLY: Global<u16> = Global::new(ABSENT);

/// What a segment is for conntrack (`enum ip_conntrack_info`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Info(u64);

impl Info {
    /// Opens an entry that has seen no answer.
    pub const NEW: Self = Self(2);
    /// The first of the values for segments of the answering side.
    const REPLY: u64 = 3;

    /// A segment of the answering side.
    #[inline(always)]
    pub fn is_reply(self) -> bool {
        self.0 >= Self::REPLY
    }
}

/// The address and the low bits of `skb->_nfct`.
#[inline(always)]
fn entry_of(nfct: u64) -> Option<(Conntrack, Info)> {
    /// `NFCT_INFOMASK`; the rest is the address.
    const INFO: u64 = 7;
    let entry = nfct & !INFO;
    (entry != 0).then_some((Conntrack(entry as *const u8), Info(nfct & INFO)))
}

/// `struct nf_conn`
#[derive(Clone, Copy)]
pub struct Conntrack(pub(super) *const u8);

/// `struct nf_conntrack_tuple`, whose layout the daemon checks; addresses and
/// ports in network byte order.
#[repr(C)]
struct Tuple {
    src: [u32; 4],
    src_port: u16,
    family: u16,
    dst: [u32; 4],
    dst_port: u16,
    protocol: u8,
    direction: u8,
}

impl Conntrack {
    /// Source and destination of the segment that opened the entry.
    #[inline(always)]
    pub fn original(self) -> Option<FlowKey> {
        self.tuple(&CT_ORIGINAL)
    }

    /// Source and destination of the answers that the entry expects.
    #[inline(always)]
    pub fn reply(self) -> Option<FlowKey> {
        self.tuple(&CT_REPLY)
    }

    /// `None` for anything but TCP.
    #[inline(always)]
    fn tuple(self, offset: &Global<u16>) -> Option<FlowKey> {
        const TCP: u8 = 6;
        let tuple: Tuple = read(self.0, offset)?;
        if tuple.protocol != TCP {
            return None;
        }
        Some(FlowKey {
            client: addr(tuple.family, tuple.src)?,
            node: addr(tuple.family, tuple.dst)?,
            client_port: u16::from_be(tuple.src_port),
            node_port: u16::from_be(tuple.dst_port),
        })
    }
}

/// An address of a tuple; `family` is the same for socket(2) and netfilter.
#[inline(always)]
fn addr(family: u16, words: [u32; 4]) -> Option<Addr> {
    match family {
        super::AF_INET => Some(Addr::mapped(words[0])),
        super::AF_INET6 => Some(Addr(words)),
        _ => None,
    }
}

/// `struct sk_buff`
#[derive(Clone, Copy)]
pub struct SkBuff(pub *const u8);

/// A TCP segment's headers, as far as they matter.
pub struct Segment {
    /// Where from and where to, as if its sender were the client.
    pub ends: FlowKey,
    /// Flags and numbers.
    pub header: Header,
}

impl SkBuff {
    /// conntrack's entry, if the packet has one (`skb->_nfct`).
    #[inline(always)]
    pub fn conntrack(self) -> Option<(Conntrack, Info)> {
        read(self.0, &SKB_NFCT).and_then(entry_of)
    }

    /// The same by a load that the verifier checks against the kernel's types:
    /// only for a tracepoint's own argument, and where the hook is enabled.
    #[inline(always)]
    pub fn conntrack_by_load(self) -> Option<(Conntrack, Info)> {
        let nfct = self.0.wrapping_add(usize::from(SKB_NFCT.load()));
        // SAFETY: the verifier accepts it only within a live `struct sk_buff`.
        entry_of(unsafe { nfct.cast::<u64>().read_volatile() })
    }

    /// A copy of what was sent to another host: a bridge that does not know where
    /// that is sends one to everybody.
    #[inline(always)]
    pub fn is_for_other_host(self) -> bool {
        const PKT_TYPE: u8 = 7;
        const PACKET_OTHERHOST: u8 = 3;
        let byte: Option<u8> = read(self.0, &SKB_PKT_TYPE);
        byte.is_some_and(|byte| byte & PKT_TYPE == PACKET_OTHERHOST)
    }

    /// The headers of a TCP segment; `None` for anything else. Where the
    /// transport header is, the IP header says: not everything that is dropped
    /// has got as far as `skb->transport_header`.
    #[inline(always)]
    pub fn segment(self) -> Option<Segment> {
        let ethertype = u16::from_be(read(self.0, &SKB_PROTOCOL)?);
        if ethertype != packet::ethertype::IPV4 && ethertype != packet::ethertype::IPV6 {
            return None;
        }
        let head: u64 = read(self.0, &SKB_HEAD)?;
        let network: u16 = read(self.0, &SKB_NETWORK)?;
        let headers = Headers(head + u64::from(network));
        let link = Link {
            ethertype,
            offset: 0,
        };
        let ip = packet::ip(&headers, link).ok()?;
        let tcp = packet::tcp(&headers, &ip).ok()?;
        Some(Segment {
            ends: FlowKey {
                client: ip.src,
                node: ip.dst,
                client_port: tcp.src_port,
                node_port: tcp.dst_port,
            },
            header: Header {
                flags: tcp.flags,
                seq: tcp.seq,
                ack: tcp.ack,
            },
        })
    }
}

/// The linear part of a packet from its IP header on.
struct Headers(u64);

impl Headers {
    #[inline(always)]
    fn read<T>(&self, offset: u32) -> Option<T> {
        let at = self.0 + u64::from(offset);
        // SAFETY: the helper copies or fails, whatever the address; `T` is of
        // integers, for which any bytes are valid.
        unsafe { bpf_probe_read_kernel(at as *const T) }.ok()
    }
}

impl Packet for Headers {
    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        self.read(offset)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.read(offset)
    }

    /// Not known: what is pulled already does not count in `skb->len`.
    #[inline(always)]
    fn len(&self) -> u32 {
        u32::MAX
    }
}
