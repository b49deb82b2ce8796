//! The tables of iptables-legacy: one block of entries each, `struct ipt_entry` or
//! `struct ip6t_entry`, each with matches and a target. kube-proxy writes tens of
//! thousands: rules are made of those alone that a SYN may come to.

mod entry;

use std::collections::HashMap;

use self::entry::{Entries, Entry, Layout, V4, V6, rule};
use super::{
    Family, Tool,
    table::{Base, Chain, Hook, Rule, Table, Tables},
    xt::{self, u32_at},
};

const HOOKS: usize = 5;

/// What the kernel says of a table (`struct ipt_getinfo`).
#[derive(Clone, Copy, Debug)]
pub struct Info {
    valid: u32,
    entries: [u32; HOOKS],
    underflow: [u32; HOOKS],
    /// Entries.
    pub count: u32,
    /// Bytes of all entries.
    pub size: u32,
}

impl Info {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let five = |at: usize| -> Option<[u32; HOOKS]> {
            let mut five = [0; HOOKS];
            for (i, cell) in five.iter_mut().enumerate() {
                *cell = u32_at(bytes, at + 4 * i)?;
            }
            Some(five)
        };
        Some(Self {
            valid: u32_at(bytes, 32)?,
            entries: five(36)?,
            underflow: five(56)?,
            count: u32_at(bytes, 76)?,
            size: u32_at(bytes, 80)?,
        })
    }

    /// The hook whose chain begins there.
    fn base(&self, offset: u32) -> Option<u32> {
        let hooks = self.entries.iter().zip(0_u32..);
        let mut at = hooks.filter(|(start, hook)| self.valid & 1 << hook != 0 && **start == offset);
        at.next().map(|(_, hook)| hook)
    }

    /// Whether the policy of this chain stands there.
    fn is_policy(&self, offset: u32, chain: &str) -> bool {
        let mut hooks = self.underflow.iter().zip(0_u32..);
        hooks.any(|(at, hook)| {
            *at == offset && self.valid & 1 << hook != 0 && chain == hook_name(hook)
        })
    }
}

/// The entries of a table as the kernel gave them. Rules are made of those of a chain
/// when they are asked for.
pub struct Block {
    layout: &'static Layout,
    /// What precedes the entries included.
    bytes: Vec<u8>,
    /// Where they begin in `bytes`.
    head: usize,
    /// Chains by the offsets of their first entries.
    starts: HashMap<u32, u32>,
    /// The first chain in [`Tables::chains`]; the others follow.
    first: u32,
    /// Of each chain.
    spans: Vec<Span>,
}

/// Offsets of a chain's first entry, of what follows its last one, and of the entry that
/// is its policy.
struct Span {
    start: u32,
    end: u32,
    policy: Option<u32>,
}

impl Block {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn entries(&self, start: u32) -> Entries<'_> {
        Entries {
            layout: self.layout,
            rest: self
                .bytes
                .get(self.head + start as usize..)
                .unwrap_or_default(),
            offset: start,
        }
    }

    /// Whether it is one of this table's chains.
    pub fn has(&self, chain: u32) -> bool {
        self.span(chain).is_some()
    }

    fn span(&self, chain: u32) -> Option<&Span> {
        self.spans.get(chain.checked_sub(self.first)? as usize)
    }

    /// Reads the rules of a chain of this table.
    pub fn read(&self, tables: &mut Tables, chain: u32) {
        let (Some(span), Some(chain)) = (self.span(chain), tables.chains.get_mut(chain as usize))
        else {
            return;
        };
        let entries = self.entries(span.start);
        let own = entries.take_while(|entry| entry.offset < span.end);
        let own = own.filter(|entry| !entry.is_head() && Some(entry.offset) != span.policy);
        chain.rules = own
            .map(|entry| rule(self.layout, &entry, &self.starts))
            .collect();
        // What a user's chain ends with.
        if !is_base(&chain.name) {
            chain.rules.pop();
        }
        tell_apart(&mut chain.rules);
        chain.rules.shrink_to_fit();
        chain.read = true;
    }

    fn chains(&self) -> impl Iterator<Item = u32> + use<> {
        (self.first..).take(self.spans.len())
    }

    /// Reads the rules of all its chains.
    pub fn read_all(&self, tables: &mut Tables) {
        self.chains().for_each(|chain| self.read(tables, chain));
    }

    /// Reads those that the kernel calls for a SYN from outside, and that by which
    /// kube-proxy is known. Returns whether a SYN comes to no others.
    pub fn read_first(&self, tables: &mut Tables) -> bool {
        let mut all = true;
        for index in self.chains() {
            match tables.chains.get(index as usize) {
                Some(chain) if chain.is_first() => self.read(tables, index),
                // A base chain without a base: OUTPUT.
                Some(chain) => all &= is_base(&chain.name),
                None => {}
            }
        }
        all
    }
}

/// Adds a table's chains, without their rules. The entries begin at `head` of `bytes`.
/// Returns as well whether all of it could be read.
pub fn add(
    tables: &mut Tables,
    v6: bool,
    name: &str,
    info: &Info,
    (bytes, head): (Vec<u8>, usize),
) -> (Block, bool) {
    let table = tables.tables.len() as u32;
    tables.tables.push(Table {
        family: if v6 { Family::Ipv6 } else { Family::Ipv4 },
        tool: Tool::IptablesLegacy,
        name: name.into(),
    });
    let mut block = Block {
        layout: if v6 { &V6 } else { &V4 },
        bytes,
        head,
        starts: HashMap::new(),
        first: tables.chains.len() as u32,
        spans: Vec::new(),
    };
    let mut chains = Chains {
        tables,
        table,
        name,
        info,
        starts: HashMap::new(),
        spans: Vec::new(),
        after_head: None,
    };
    let mut seen = 0;
    for entry in block.entries(0) {
        seen += 1;
        chains.see(block.layout, &entry);
    }
    (block.starts, block.spans) = (chains.starts, chains.spans);
    (block, seen == info.count)
}

/// The chains of a table, as its entries come.
struct Chains<'a> {
    tables: &'a mut Tables,
    table: u32,
    name: &'a str,
    info: &'a Info,
    starts: HashMap<u32, u32>,
    spans: Vec<Span>,
    /// The user's chain that begins with the next entry.
    after_head: Option<String>,
}

impl Chains<'_> {
    fn see(&mut self, layout: &Layout, entry: &Entry<'_>) {
        let hook = self.info.base(entry.offset);
        let user = self.after_head.take();
        if let Some(chain) = hook.map(|hook| hook_name(hook).to_owned()).or(user) {
            self.begin(entry.offset, chain, hook);
        }
        if let (Some(span), Some(chain)) = (self.spans.last_mut(), self.tables.chains.last_mut()) {
            span.end = entry.end();
            if self.info.is_policy(entry.offset, &chain.name) {
                span.policy = Some(entry.offset);
                if let Some(base) = &mut chain.base {
                    base.drops = entry.standard() == Some(-1);
                    base.packets = entry.packets(layout);
                }
            }
        }
        self.after_head = entry.is_head().then(|| xt::text(entry.target.data));
    }

    fn begin(&mut self, start: u32, chain: String, hook: Option<u32>) {
        self.starts.insert(start, self.tables.chains.len() as u32);
        self.spans.push(Span {
            start,
            end: start,
            policy: None,
        });
        self.tables.chains.push(Chain {
            table: self.table,
            name: chain.into(),
            base: hook.and_then(|hook| base(hook, self.name)),
            read: false,
            rules: Vec::new(),
        });
    }
}

fn is_base(name: &str) -> bool {
    (0..5).any(|hook| hook_name(hook) == name)
}

/// The handles of rules that stop packets and are the same but for their place.
fn tell_apart(rules: &mut [Rule]) {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for rule in rules.iter_mut().filter(|rule| rule.handle != 0) {
        let before = seen.entry(rule.handle).or_default();
        rule.handle = rule.handle.wrapping_add(*before);
        *before += 1;
    }
}

const fn hook_name(hook: u32) -> &'static str {
    match hook {
        0 => "PREROUTING",
        1 => "INPUT",
        2 => "FORWARD",
        3 => "OUTPUT",
        _ => "POSTROUTING",
    }
}

/// `None`: a SYN from outside does not come there.
fn base(hook: u32, table: &str) -> Option<Base> {
    let hook = Hook::new(hook, false)?;
    let late = matches!(hook, Hook::Input | Hook::Postrouting);
    Some(Base {
        hook,
        priority: match table {
            "raw" => -300,
            "mangle" => -150,
            "nat" if late => 100,
            "nat" => -100,
            "security" => 50,
            _ => 0,
        },
        nat: table == "nat",
        drops: false,
        packets: None,
        devices: Vec::new(),
    })
}
