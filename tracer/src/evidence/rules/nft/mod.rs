//! The tables of nftables (and of iptables-nft), from netlink messages.

mod elements;
mod expressions;

use std::collections::{BTreeSet, HashMap};

use super::{
    Action, Family, Tool,
    table::{Base, Chain, Hook, Rule, Set, Table, Tables, Verdict},
    xt,
};
use crate::evidence::netlink::Attributes;

/// Bytes of `struct nfgenmsg`.
pub const NFGENMSG: usize = 4;
const SUBSYSTEM: u16 = 10 << 8;
pub const GET_TABLE: u16 = SUBSYSTEM | 1;
pub const GET_CHAIN: u16 = SUBSYSTEM | 4;
pub const GET_RULE: u16 = SUBSYSTEM | 7;
pub const GET_SET: u16 = SUBSYSTEM | 10;
pub const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
/// NFPROTO_…
const INET: u8 = 1;
const IPV4: u8 = 2;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IPV6: u8 = 10;
/// The tables of iptables, and its names of hooks.
const IPTABLES: [&str; 5] = ["raw", "mangle", "nat", "filter", "security"];
const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// A number in network byte order, as nftables sends them.
fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_be_bytes(*b))
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|b| u64::from_be_bytes(*b))
}

fn number(attributes: Attributes<'_>, kind: u16) -> Option<u32> {
    attributes.find(kind).and_then(be32)
}

fn nested(attributes: Attributes<'_>, kind: u16) -> Attributes<'_> {
    Attributes(attributes.find(kind).unwrap_or_default())
}

/// A name is kept as it is: it is asked for again.
fn name(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok()
}

/// The number of a family that tables are asked for by.
pub const fn protocol(family: Family) -> u8 {
    match family {
        Family::Inet => INET,
        Family::Ipv4 => IPV4,
        Family::Ipv6 => IPV6,
        Family::Netdev => NETDEV,
    }
}

/// Tables as they are put together, with the names that rules refer to.
#[derive(Debug, Default)]
pub struct Builder {
    pub tables: Tables,
    /// Tables of bridges, whose frames are not followed.
    bridges: BTreeSet<String>,
    /// One of these that the kernel calls for frames.
    pub filters_frames: Option<String>,
    by_table: HashMap<(u8, String), u32>,
    by_chain: HashMap<u32, HashMap<String, u32>>,
    by_set: HashMap<u32, HashMap<String, u32>>,
}

impl Builder {
    /// After what was read before.
    pub fn after(tables: Tables) -> Self {
        Self {
            tables,
            ..Self::default()
        }
    }

    fn table(&self, payload: &[u8], attribute: u16) -> Option<u32> {
        let (family, of) = (*payload.first()?, Attributes::after(payload, NFGENMSG));
        let table = name(of.find(attribute)?)?.to_owned();
        self.by_table.get(&(family, table)).copied()
    }

    fn chain(&self, table: u32, name: &str) -> Option<u32> {
        self.by_chain.get(&table)?.get(name).copied()
    }

    fn set(&self, table: u32, name: &str) -> Option<u32> {
        self.by_set.get(&table)?.get(name).copied()
    }

    /// An answer to [`GET_TABLE`].
    pub fn add_table(&mut self, payload: &[u8]) -> Option<()> {
        let (family, of) = (*payload.first()?, Attributes::after(payload, NFGENMSG));
        const DORMANT: u32 = 1;
        if number(of, 2).is_some_and(|flags| flags & DORMANT != 0) {
            return None;
        }
        let name = name(of.find(1)?)?;
        let known = match family {
            INET => Family::Inet,
            IPV4 => Family::Ipv4,
            IPV6 => Family::Ipv6,
            NETDEV => Family::Netdev,
            BRIDGE => {
                self.bridges.insert(name.to_owned());
                return None;
            }
            _ => return None,
        };
        let index = self.tables.tables.len() as u32;
        let both = matches!(known, Family::Ipv4 | Family::Ipv6);
        let tool = if both && IPTABLES.contains(&name) {
            Tool::IptablesNft
        } else {
            Tool::Nftables
        };
        self.tables.tables.push(Table {
            family: known,
            tool,
            name: name.into(),
        });
        self.by_table.insert((family, name.to_owned()), index);
        Some(())
    }

    /// Whether there is any table.
    pub fn is_empty(&self) -> bool {
        self.tables.tables.is_empty() && self.bridges.is_empty()
    }

    /// An answer to [`GET_CHAIN`].
    pub fn add_chain(&mut self, payload: &[u8]) -> Option<()> {
        let of = Attributes::after(payload, NFGENMSG);
        if payload.first() == Some(&BRIDGE) {
            let table = name(of.find(1)?)?;
            if of.find(4).is_some() && self.bridges.contains(table) {
                self.filters_frames.get_or_insert_with(|| table.to_owned());
            }
            return None;
        }
        let table = self.table(payload, 1)?;
        let name = name(of.find(3)?)?;
        let owner = self.tables.tables.get_mut(table as usize)?;
        let hooked = of.find(4).is_some();
        if hooked && !HOOKS.contains(&name) {
            owner.tool = Tool::Nftables;
        }
        let netdev = owner.family == Family::Netdev;
        let index = self.tables.chains.len() as u32;
        self.tables.chains.push(Chain {
            table,
            name: name.into(),
            base: if hooked { base(of, netdev) } else { None },
            read: false,
            rules: Vec::new(),
        });
        let names = self.by_chain.entry(table).or_default();
        names.insert(name.to_owned(), index);
        Some(())
    }

    /// An answer to [`GET_SET`].
    pub fn add_set(&mut self, payload: &[u8]) -> Option<()> {
        let table = self.table(payload, 1)?;
        let of = Attributes::after(payload, NFGENMSG);
        let name = name(of.find(2)?)?;
        let flags = number(of, 3).unwrap_or_default();
        let index = self.tables.sets.len() as u32;
        self.tables.sets.push(Set {
            table,
            name: name.into(),
            key_length: number(of, 5).unwrap_or_default(),
            interval: flags & 4 != 0,
            concat: flags & 0x80 != 0,
            odd: flags & 0x40 != 0,
            elements: None,
        });
        let names = self.by_set.entry(table).or_default();
        names.insert(name.to_owned(), index);
        Some(())
    }

    /// An answer to [`GET_RULE`], which was asked about this chain.
    pub fn add_rule(&mut self, chain: u32, payload: &[u8]) -> Option<()> {
        let of = Attributes::after(payload, NFGENMSG);
        let asked = self.tables.chains.get(chain as usize)?;
        if name(of.find(2)?)? != &*asked.name {
            return None;
        }
        let table = asked.table;
        let family = self.tables.tables.get(table as usize)?.family;
        let mut rule = Rule {
            handle: of.find(3).and_then(be64).unwrap_or_default(),
            ..Rule::default()
        };
        let written = expressions::read(nested(of, 4), &Names(self, table), family);
        rule.ops = written.ops.into();
        rule.packets = written.packets;
        if rule.stops() {
            let said = of.find(7).and_then(comment).or(written.comment);
            rule.comment = said.map(Into::into);
        }
        self.tables.chains.get_mut(chain as usize)?.rules.push(rule);
        Some(())
    }

    /// Adds an answer to [`GET_ELEMENTS`] to elements of a set. Returns how many.
    pub fn add_elements(&self, set: u32, payload: &[u8], to: &mut Vec<super::table::Element>) {
        let Some(table) = self.tables.sets.get(set as usize).map(|set| set.table) else {
            return;
        };
        let list = nested(Attributes::after(payload, NFGENMSG), 3);
        to.extend(list.filter_map(|(_, one)| elements::read(one, &Names(self, table))));
    }
}

/// The names of one table.
struct Names<'a>(&'a Builder, u32);

impl Names<'_> {
    fn set(&self, name: &[u8]) -> Option<u32> {
        self.0.set(self.1, self::name(name)?)
    }

    /// NFTA_DATA_VERDICT; `None`: the rule goes on.
    fn verdict(&self, of: Attributes<'_>) -> Option<Verdict> {
        let chain = || {
            let name = name(of.find(2)?)?;
            self.0.chain(self.1, name)
        };
        let jump = |to: fn(u32) -> Verdict| match chain() {
            Some(chain) => to(chain),
            None => Verdict::Unknown("…".into()),
        };
        Some(match number(of, 1)?.cast_signed() {
            0 => Verdict::Stop(Action::Drop),
            1 => Verdict::Accept,
            -1 => return None,
            -3 => jump(Verdict::Jump),
            -4 => jump(Verdict::Goto),
            -5 => Verdict::Return,
            // NF_QUEUE with a queue's number above it.
            code if code & 0xff == 3 => Verdict::Queue,
            _ => Verdict::Unknown("…".into()),
        })
    }
}

fn base(of: Attributes<'_>, netdev: bool) -> Option<Base> {
    let hook = nested(of, 4);
    let devices = nested(hook, 4).map(|(_, device)| device);
    let devices = hook.find(3).into_iter().chain(devices);
    Some(Base {
        hook: Hook::new(number(hook, 1)?, netdev)?,
        priority: number(hook, 2)?.cast_signed(),
        nat: of.find(7).and_then(name) == Some("nat"),
        drops: number(of, 5) == Some(0),
        packets: nested(of, 8).find(2).and_then(be64),
        devices: devices.map(|device| xt::text(device).into()).collect(),
    })
}

/// The comment in a rule's user data: type, length, value.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return Some(xt::text(value));
        }
        data = rest.get(usize::from(*length)..)?;
    }
    None
}
