//! `struct ipt_entry` and `struct ip6t_entry`: a rule each.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::evidence::rules::{
    Action,
    table::{Op, Rule, Side, Test, Verdict},
    xt::{self, Extension, u16_at, u32_at},
};

/// Bytes of the head of `struct xt_entry_match` and `xt_entry_target`.
const EXTENSION: usize = 32;
const RETURN: i32 = -5;

/// Where things are in an entry.
pub(super) struct Layout {
    address: usize,
    proto: usize,
    flags: usize,
    invert: usize,
    target_offset: usize,
    counters: usize,
    size: usize,
    goto: u8,
    v6: bool,
}

pub(super) const V4: Layout = Layout {
    address: 4,
    proto: 80,
    flags: 82,
    invert: 83,
    target_offset: 88,
    counters: 96,
    size: 112,
    goto: 2,
    v6: false,
};
pub(super) const V6: Layout = Layout {
    address: 16,
    proto: 128,
    flags: 131,
    invert: 132,
    target_offset: 140,
    counters: 152,
    size: 168,
    goto: 4,
    v6: true,
};

/// An entry and where it stands.
pub(super) struct Entry<'a> {
    pub offset: u32,
    bytes: &'a [u8],
    pub target: Extension<'a>,
}

pub(super) struct Entries<'a> {
    pub layout: &'static Layout,
    pub rest: &'a [u8],
    pub offset: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    /// Ends at the first that is malformed.
    fn next(&mut self) -> Option<Entry<'a>> {
        let at = self.layout.target_offset;
        let target = usize::from(u16_at(self.rest, at)?);
        let next = u16_at(self.rest, at + 2)?;
        let size = usize::from(next);
        if target < self.layout.size || target + EXTENSION > size {
            return None;
        }
        let bytes = self.rest.get(..size)?;
        let entry = Entry {
            offset: self.offset,
            bytes,
            target: extension(bytes.get(target..)?, self.layout.v6)?.0,
        };
        self.rest = self.rest.get(size..)?;
        self.offset = self.offset.checked_add(next.into())?;
        Some(entry)
    }
}

/// One match or target, and its size.
fn extension(bytes: &[u8], v6: bool) -> Option<(Extension<'_>, usize)> {
    let size = usize::from(u16_at(bytes, 0)?);
    let name = bytes.get(2..31)?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    let of = Extension {
        name: std::str::from_utf8(name.get(..end)?).ok()?,
        revision: *bytes.get(31)?,
        data: bytes.get(EXTENSION..size)?,
        v6,
    };
    Some((of, size))
}

impl Entry<'_> {
    /// The offset of the next one.
    pub fn end(&self) -> u32 {
        // An entry has at most 64 KiB.
        self.offset + self.bytes.len() as u32
    }

    /// What precedes a user's chain and names it, and what ends the table.
    pub fn is_head(&self) -> bool {
        self.target.name == "ERROR"
    }

    /// The verdict of a standard target.
    pub fn standard(&self) -> Option<i32> {
        let standard = self.target.name.is_empty();
        standard
            .then(|| u32_at(self.target.data, 0))?
            .map(u32::cast_signed)
    }

    pub fn packets(&self, layout: &Layout) -> Option<u64> {
        let bytes = self.bytes.get(layout.counters..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*bytes))
    }
}

/// Chains by where they start.
pub(super) fn rule(layout: &Layout, entry: &Entry<'_>, starts: &HashMap<u32, u32>) -> Rule {
    let mut ops = Vec::new();
    let mut comment = None;
    if head(layout, entry.bytes, &mut ops).is_none() {
        ops.push(Op::Test(Test::Unknown("…".into())));
    }
    let target = u16_at(entry.bytes, layout.target_offset).map_or(0, usize::from);
    let mut matches = entry.bytes.get(layout.size..target).unwrap_or_default();
    while let Some((of, size)) = extension(matches, layout.v6) {
        xt::matched(of, &mut ops, &mut comment);
        matches = matches.get(size..).unwrap_or_default();
    }
    match entry.standard() {
        Some(verdict) => ops.extend(standard(layout, entry, verdict, starts)),
        None => xt::target(entry.target, &mut ops),
    }
    let mut rule = Rule {
        ops: ops.into(),
        handle: 0,
        packets: entry.packets(layout),
        comment: None,
    };
    if rule.stops() {
        rule.comment = comment.map(Into::into);
        let mut hasher = DefaultHasher::new();
        (&rule.ops, &rule.comment).hash(&mut hasher);
        rule.handle = hasher.finish();
    }
    rule
}

/// `None`: the rule goes on with the next.
fn standard(
    layout: &Layout,
    entry: &Entry<'_>,
    verdict: i32,
    starts: &HashMap<u32, u32>,
) -> Option<Op> {
    let goto = entry
        .bytes
        .get(layout.flags)
        .is_some_and(|f| f & layout.goto != 0);
    let verdict = match verdict {
        -1 => Verdict::Stop(Action::Drop),
        -2 => Verdict::Accept,
        -4 => Verdict::Queue,
        RETURN => Verdict::Return,
        to => {
            let to = u32::try_from(to).ok()?;
            if entry.end() == to {
                return None;
            }
            match starts.get(&to) {
                Some(chain) if goto => Verdict::Goto(*chain),
                Some(chain) => Verdict::Jump(*chain),
                None => Verdict::Unknown("…".into()),
            }
        }
    };
    Some(Op::Verdict(verdict))
}

/// `struct ipt_ip`, `struct ip6t_ip6`
fn head(layout: &Layout, entry: &[u8], ops: &mut Vec<Op>) -> Option<()> {
    let (flags, invert) = (*entry.get(layout.flags)?, *entry.get(layout.invert)?);
    let size = layout.address;
    let address = |n: usize| xt::address(entry.get(n * size..)?, layout.v6);
    for (n, side, bit) in [(0, Side::Source, 8), (1, Side::Destination, 0x10)] {
        let (base, mask) = (address(n)?, address(n + 2)?);
        let not = invert & bit != 0;
        if mask.is_unspecified() && !not {
            continue;
        }
        ops.push(Op::Test(match xt::net(base, mask) {
            Some(net) => Test::Address { side, not, net },
            None => Test::Unknown(format!("an address of {base}/{mask}").into()),
        }));
    }
    for (n, out, bit) in [(0, false, 1), (1, true, 2)] {
        let at = 4 * size + 16 * n;
        let (name, mask) = (entry.get(at..at + 16)?, entry.get(at + 32..at + 48)?);
        let not = invert & bit != 0;
        let length = mask.iter().filter(|b| **b != 0).count();
        if length == 0 && !not {
            continue;
        }
        // The mask covers the NUL of a whole name.
        let name = name.get(..length).unwrap_or_default();
        let prefix = !name.contains(&0);
        let name = xt::text(name).into();
        ops.push(Op::Test(Test::Interface {
            out,
            not,
            prefix,
            name,
        }));
    }
    let protocol = u16_at(entry, layout.proto)?;
    if protocol != 0 {
        let (not, number) = (invert & 0x40 != 0, u8::try_from(protocol).ok()?);
        ops.push(Op::Test(Test::Protocol { not, number }));
    }
    // A SYN is no later fragment; `! -f` fits it.
    if !layout.v6 && flags & 1 != 0 && invert & 0x20 == 0 {
        ops.push(Op::Test(Test::Protocol {
            not: false,
            number: 0,
        }));
    }
    if layout.v6 && flags & 2 != 0 {
        ops.push(Op::Test(Test::Unknown("-m tos".into())));
    }
    Some(())
}
