//! Rules of every tool in one form: tests and effects in the order in which the
//! kernel comes to them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Action, Family, Tool};

/// Bits of a connection's state, as xt_conntrack.h numbers them.
pub mod state {
    /// No connection that conntrack would know.
    pub const INVALID: u16 = 1;
    /// The first packet of a connection.
    pub const NEW: u16 = 8;
    /// Its source was translated.
    pub const SNAT: u16 = 1 << 6;
    /// Its destination was translated.
    pub const DNAT: u16 = 1 << 7;
    /// A rule keeps conntrack from it.
    pub const UNTRACKED: u16 = 1 << 8;
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Source,
    Destination,
    Either,
}

/// What can be asked of a packet as bytes, as nftables loads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Bytes of the IP header.
    Network {
        offset: u8,
        length: u8,
    },
    /// Bytes of the TCP header.
    Transport {
        offset: u8,
        length: u8,
    },
    /// 16 bytes, padded with zeros.
    InterfaceIn,
    InterfaceOut,
    /// One byte: TCP.
    Protocol,
    /// One byte: NFPROTO_…
    NfProto,
    /// Two bytes in network byte order.
    EtherType,
    /// Four bytes in host byte order.
    Mark,
    State,
    Status,
    /// RTN_…, four bytes in host byte order.
    AddressType(Side),
    /// These bytes, whatever the packet.
    Constant(Box<[u8]>),
    /// What a map holds under a key.
    Looked(Box<Lookup>),
    /// Anything else, under a name.
    Other(&'static str),
}

/// Bytes that were made of a field: `(field & mask) ^ xor`, by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    pub field: Field,
    /// Bytes.
    pub length: u8,
    /// As long as the operand.
    pub altered: Option<Box<(Vec<u8>, Vec<u8>)>>,
    /// Host byte order was made network byte order.
    pub swapped: bool,
}

/// A question to a set, or to a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// Index into [`Tables::sets`]; `None`: there is no such set.
    pub set: Option<u32>,
    pub key: Vec<Operand>,
}

/// What has to hold for a rule to go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    Address {
        side: Side,
        not: bool,
        net: IpNet,
    },
    Between {
        side: Side,
        not: bool,
        ends: Box<(IpAddr, IpAddr)>,
    },
    Ports {
        side: Side,
        not: bool,
        ranges: Box<[(u16, u16)]>,
    },
    /// `prefix`: names that begin so.
    Interface {
        out: bool,
        not: bool,
        prefix: bool,
        name: Box<str>,
    },
    Protocol {
        not: bool,
        number: u8,
    },
    Flags {
        not: bool,
        mask: u8,
        value: u8,
    },
    Mark {
        not: bool,
        mask: u32,
        value: u32,
    },
    /// Any of these bits of [`state`].
    State {
        not: bool,
        any: u16,
    },
    /// Any of these bits of `enum ip_conntrack_status`.
    Status {
        not: bool,
        any: u32,
    },
    /// Any of `1 << RTN_…`.
    Type {
        side: Side,
        not: bool,
        kinds: u16,
    },
    Bytes {
        operand: Box<Operand>,
        not: bool,
        value: Box<[u8]>,
    },
    /// `ends`: the lowest and the highest.
    Order {
        operand: Box<Operand>,
        not: bool,
        ends: Box<[Box<[u8]>; 2]>,
    },
    InSet {
        lookup: Box<Lookup>,
        not: bool,
    },
    /// Not understood; its name.
    Unknown(Box<str>),
}

/// Where NAT sends to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `None`: left as it is.
    To {
        address: Option<IpAddr>,
        port: Option<u16>,
    },
    /// Address, and port after it, as a map has them.
    Map(Box<Lookup>),
    Unknown,
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Accept,
    Stop(Action),
    /// By ICMP or ICMPv6, with a code of `enum nft_reject_inet_code`.
    RejectEither(u8),
    /// Handed to a program.
    Queue,
    Return,
    /// Index into [`Tables::chains`].
    Jump(u32),
    Goto(u32),
    Dnat(Target),
    /// Not understood; its name.
    Unknown(Box<str>),
}

/// A step of a rule. There are several for each of tens of thousands of rules: what is
/// large and rare is boxed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Test(Test),
    /// `mark = (mark & keep) ^ xor`
    Mark {
        keep: u32,
        xor: u32,
    },
    /// These bits may become anything.
    MarkLost(u32),
    NoTrack,
    /// The verdict that a map holds, if it holds any.
    Verdicts(Box<Lookup>),
    Verdict(Verdict),
}

const _: () = assert!(size_of::<Op>() <= 32, "memory of rule sets");

#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub ops: Box<[Op]>,
    /// nftables' handle; 0: none.
    pub handle: u64,
    /// Packets that came to its counter.
    pub packets: Option<u64>,
    /// Kept of rules that stop packets only.
    pub comment: Option<Box<str>>,
}

impl Rule {
    /// Whether it may stop a packet.
    pub fn stops(&self) -> bool {
        self.ops
            .iter()
            .any(|op| matches!(op, Op::Verdict(verdict) if verdict.stops()))
    }
}

impl Verdict {
    pub const fn stops(&self) -> bool {
        matches!(self, Self::Stop(_) | Self::RejectEither(_) | Self::Queue)
    }
}

/// A point of netfilter that a SYN from outside may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Postrouting,
}

impl Hook {
    /// Of `enum nf_inet_hooks`; `netdev`: of `enum nf_dev_hooks`.
    pub const fn new(number: u32, netdev: bool) -> Option<Self> {
        match (number, netdev) {
            (0, true) | (5, false) => Some(Self::Ingress),
            (0, false) => Some(Self::Prerouting),
            (1, false) => Some(Self::Input),
            (2, false) => Some(Self::Forward),
            (4, false) => Some(Self::Postrouting),
            _ => None,
        }
    }
}

/// A chain that the kernel calls.
#[derive(Clone, Debug)]
pub struct Base {
    pub hook: Hook,
    pub priority: i32,
    /// It sees the first packet of a connection only, and ends with NAT.
    pub nat: bool,
    pub drops: bool,
    /// Packets that the policy took.
    pub packets: Option<u64>,
    /// Interfaces of an ingress hook.
    pub devices: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
pub struct Chain {
    /// Index into [`Tables::tables`].
    pub table: u32,
    pub name: Box<str>,
    pub base: Option<Base>,
    /// Its rules are known.
    pub read: bool,
    pub rules: Vec<Rule>,
}

impl Chain {
    /// Whether it is read whatever is asked: the kernel calls it, or kube-proxy is known
    /// by it.
    pub fn is_first(&self) -> bool {
        self.base.is_some() || &*self.name == "KUBE-SERVICES"
    }
}

#[derive(Clone, Debug)]
pub struct Table {
    pub family: Family,
    pub tool: Tool,
    pub name: Box<str>,
}

/// What an element of a map leads to.
#[derive(Clone, Debug)]
pub enum Data {
    None,
    Bytes(Box<[u8]>),
    Verdict(Verdict),
}

#[derive(Clone, Debug)]
pub struct Element {
    pub key: Box<[u8]>,
    /// Last key of a range of concatenated fields.
    pub last: Option<Box<[u8]>>,
    /// The first key after a range.
    pub ends: bool,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub struct Set {
    pub table: u32,
    pub name: Box<str>,
    /// Bytes of a key.
    pub key_length: u32,
    pub interval: bool,
    pub concat: bool,
    /// It holds objects, or something else that is not read.
    pub odd: bool,
    /// `None`: not read. Sorted by key, ends of ranges first.
    pub elements: Option<Vec<Element>>,
}

/// All rule sets of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub tables: Vec<Table>,
    pub chains: Vec<Chain>,
    pub sets: Vec<Set>,
}
