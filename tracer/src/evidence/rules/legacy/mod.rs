//! The tables of iptables-legacy: one block of entries each, `struct ipt_entry` or
//! `struct ip6t_entry`, each with matches and a target.

mod entry;

use std::collections::HashMap;

use self::entry::{Entries, V4, V6, rule};
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
}

/// Adds a table's chains. Returns whether all of it could be read.
pub fn add(tables: &mut Tables, v6: bool, name: &str, info: &Info, blob: &[u8]) -> bool {
    let layout = if v6 { &V6 } else { &V4 };
    let table = tables.tables.len() as u32;
    tables.tables.push(Table {
        family: if v6 { Family::Ipv6 } else { Family::Ipv4 },
        tool: Tool::IptablesLegacy,
        name: name.into(),
    });
    let entries = || Entries {
        layout,
        rest: blob,
        offset: 0,
    };
    let first = tables.chains.len();
    let mut starts = HashMap::new();
    let mut seen = 0;
    let mut after_error = None;
    for entry in entries() {
        seen += 1;
        let chain = if let Some(hook) = info.base(entry.offset) {
            Some((hook_name(hook).to_owned(), Some(hook)))
        } else {
            after_error.take().map(|name| (name, None))
        };
        if let Some((chain, hook)) = chain {
            starts.insert(entry.offset, tables.chains.len() as u32);
            tables.chains.push(Chain {
                table,
                name: chain.into(),
                base: hook.and_then(|hook| base(hook, name)),
                read: true,
                rules: Vec::new(),
            });
        }
        after_error = (entry.target.name == "ERROR").then(|| xt::text(entry.target.data));
    }
    let mut at = first;
    for entry in entries() {
        if let Some(chain) = starts.get(&entry.offset) {
            at = *chain as usize;
        }
        let Some(chain) = tables.chains.get_mut(at) else {
            continue;
        };
        if entry.target.name == "ERROR" {
            continue;
        }
        let hook = info.underflow.iter().zip(0_u32..);
        let ends = |(start, hook): (&u32, u32)| {
            info.valid & 1 << hook != 0 && *start == entry.offset && *chain.name == *hook_name(hook)
        };
        if hook.into_iter().any(ends) {
            if let Some(base) = &mut chain.base {
                base.drops = entry.standard() == Some(-1);
                base.packets = entry.packets(layout);
            }
            continue;
        }
        let rule = rule(layout, &entry, &starts);
        chain.rules.push(rule);
    }
    for chain in tables.chains.iter_mut().skip(first) {
        // What a user's chain ends with.
        if !is_base(&chain.name) {
            chain.rules.pop();
        }
        tell_apart(&mut chain.rules);
        chain.rules.shrink_to_fit();
    }
    seen == info.count
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
