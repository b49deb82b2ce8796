//! Rules of every tool in one form: tests and effects in the order in which the
//! kernel comes to them.

mod steps;

use super::{Family, Tool};

pub use steps::{Field, Lookup, Op, Operand, Side, Target, Test, Verdict, state};

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
