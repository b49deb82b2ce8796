//! Steps of rules: what they ask of a packet, and what becomes of it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::rules::Action;

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

impl Verdict {
    pub const fn stops(&self) -> bool {
        matches!(self, Self::Stop(_) | Self::RejectEither(_) | Self::Queue)
    }
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
