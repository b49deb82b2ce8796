//! A rule's tests in the words of its tool.

mod iptables;
mod nft;

use super::{
    Tool,
    table::{Field, Lookup, Op, Operand, Rule, Side, Tables, Test, Verdict, state},
};

/// Longest text, in characters.
const LONGEST: usize = 200;
const STATES: [(u16, &str); 5] = [
    (state::INVALID, "INVALID"),
    (2, "ESTABLISHED"),
    (4, "RELATED"),
    (state::NEW, "NEW"),
    (state::UNTRACKED, "UNTRACKED"),
];
const FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

/// What a rule asks, as far as it is read.
pub fn of(tables: &Tables, tool: Tool, rule: &Rule) -> String {
    let mut words: Vec<String> = Vec::new();
    let nft = tool == Tool::Nftables;
    let of_tcp = rule
        .ops
        .iter()
        .any(|op| matches!(op, Op::Test(Test::Ports { .. } | Test::Flags { .. })));
    let mut ops: Vec<&Op> = rule.ops.iter().collect();
    if !nft {
        ops.sort_by_key(|op| place(op));
    }
    for op in ops {
        let word = match op {
            // `tcp dport` says it as well.
            Op::Test(Test::Protocol {
                not: false,
                number: 6,
            }) if nft && of_tcp => continue,
            Op::Test(test) if nft => nft::test(tables, test),
            Op::Test(test) => iptables::test(tables, test),
            Op::Verdicts(lookup) => format!("{} vmap {}", nft::key(lookup), set(tables, lookup)),
            Op::Verdict(Verdict::Queue) if nft => "queue".into(),
            Op::Verdict(Verdict::Queue) => "-j NFQUEUE".into(),
            _ => continue,
        };
        if !word.is_empty() && words.last() != Some(&word) {
            words.push(word);
        }
    }
    let text = words.join(" ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut}…")
}

/// iptables shows addresses, interfaces and protocol first.
const fn place(op: &Op) -> u8 {
    match op {
        Op::Test(Test::Address {
            side: Side::Source, ..
        }) => 0,
        Op::Test(Test::Address { .. }) => 1,
        Op::Test(Test::Interface { out: false, .. }) => 2,
        Op::Test(Test::Interface { .. }) => 3,
        Op::Test(Test::Protocol { .. }) => 4,
        _ => 5,
    }
}

fn not(not: bool, text: String) -> String {
    if not { format!("! {text}") } else { text }
}

const fn side<'a>(side: Side, source: &'a str, destination: &'a str, either: &'a str) -> &'a str {
    match side {
        Side::Source => source,
        Side::Destination => destination,
        Side::Either => either,
    }
}

fn listed(ranges: &[(u16, u16)], to: char) -> String {
    let one = |(low, high): &(u16, u16)| match low == high {
        true => low.to_string(),
        false => format!("{low}{to}{high}"),
    };
    let all: Vec<String> = ranges.iter().map(one).collect();
    all.join(",")
}

fn flags(bits: u8) -> String {
    let set = FLAGS
        .iter()
        .zip(0..)
        .filter(|(_, bit)| bits & 1 << bit != 0);
    let names: Vec<&str> = set.map(|(name, _)| *name).collect();
    if names.is_empty() {
        "NONE".into()
    } else {
        names.join(",")
    }
}

fn states(any: u16) -> Vec<&'static str> {
    let set = STATES.iter().filter(|(bit, _)| any & bit != 0);
    let others = any & !STATES.iter().fold(0, |all, (bit, _)| all | bit);
    let dnat = (others & state::DNAT != 0).then_some("DNAT");
    let snat = (others & state::SNAT != 0).then_some("SNAT");
    set.map(|(_, name)| *name).chain(dnat).chain(snat).collect()
}

fn kinds(bits: u16) -> String {
    match bits {
        2 => "UNICAST".into(),
        4 => "LOCAL".into(),
        8 => "BROADCAST".into(),
        0x20 => "MULTICAST".into(),
        _ => "…".into(),
    }
}

fn set(tables: &Tables, lookup: &Lookup) -> String {
    let set = lookup.set.and_then(|set| tables.sets.get(set as usize));
    match set {
        Some(set) if !set.name.starts_with("__") => {
            format!("@{}", super::xt::text(set.name.as_bytes()))
        }
        _ => "{ … }".into(),
    }
}

fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        number => number.to_string(),
    }
}

/// A name that another program gave, or what stands for it.
fn unknown(name: &str) -> String {
    match name {
        "…" => name.into(),
        name => format!("{name} …"),
    }
}

fn is_family(operand: &Operand) -> bool {
    matches!(operand.field, Field::NfProto | Field::EtherType)
}
