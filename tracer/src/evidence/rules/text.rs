//! A rule's tests in the words of its tool.

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
            Op::Test(test) if nft => nft_test(tables, test),
            Op::Test(test) => iptables_test(tables, test),
            Op::Verdicts(lookup) => format!("{} vmap {}", key(lookup), set(tables, lookup)),
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

fn key(lookup: &Lookup) -> String {
    let fields: Vec<&str> = lookup.key.iter().map(operand).collect();
    if fields.is_empty() {
        "…".into()
    } else {
        fields.join(" . ")
    }
}

fn operand(operand: &Operand) -> &'static str {
    match operand.field {
        Field::Network {
            offset: 12,
            length: 4,
        } => "ip saddr",
        Field::Network {
            offset: 16,
            length: 4,
        } => "ip daddr",
        Field::Network {
            offset: 8,
            length: 16,
        } => "ip6 saddr",
        Field::Network {
            offset: 24,
            length: 16,
        } => "ip6 daddr",
        Field::Transport {
            offset: 0,
            length: 2,
        } => "th sport",
        Field::Transport {
            offset: 2,
            length: 2,
        } => "th dport",
        Field::InterfaceIn => "iifname",
        Field::InterfaceOut => "oifname",
        Field::Protocol => "meta l4proto",
        Field::NfProto => "meta nfproto",
        Field::EtherType => "meta protocol",
        Field::Mark => "meta mark",
        Field::State => "ct state",
        Field::Status => "ct status",
        Field::AddressType(Side::Source) => "fib saddr type",
        Field::AddressType(_) => "fib daddr type",
        Field::Other(name) => name,
        _ => "…",
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

fn iptables_test(tables: &Tables, test: &Test) -> String {
    match test {
        Test::Address {
            side: of,
            not: n,
            net,
        } => not(*n, format!("{} {net}", side(*of, "-s", "-d", "…"))),
        Test::Between {
            side: of,
            not: n,
            ends,
        } => {
            let option = side(*of, "--src-range", "--dst-range", "…");
            let range = not(*n, format!("{option} {}-{}", ends.0, ends.1));
            format!("-m iprange {range}")
        }
        Test::Ports {
            side: of,
            not: n,
            ranges,
        } if ranges.len() == 1 => {
            let option = side(*of, "--sport", "--dport", "--port");
            not(*n, format!("{option} {}", listed(ranges, ':')))
        }
        Test::Ports {
            side: of,
            not: n,
            ranges,
        } => {
            let option = side(*of, "--sports", "--dports", "--ports");
            format!(
                "-m multiport {}",
                not(*n, format!("{option} {}", listed(ranges, ':')))
            )
        }
        Test::Interface {
            out,
            not: n,
            prefix,
            name,
        } => {
            let (option, plus) = (
                if *out { "-o" } else { "-i" },
                if *prefix { "+" } else { "" },
            );
            not(*n, format!("{option} {name}{plus}"))
        }
        Test::Protocol { number: 0, .. } => "…".into(),
        Test::Protocol { not: n, number } => not(*n, format!("-p {}", protocol(*number))),
        Test::Flags {
            not: n,
            mask: 0x17,
            value: 2,
        } => not(*n, "--syn".into()),
        Test::Flags {
            not: n,
            mask,
            value,
        } => not(
            *n,
            format!("--tcp-flags {} {}", flags(*mask), flags(*value)),
        ),
        Test::Mark {
            not: n,
            mask,
            value,
        } => {
            format!(
                "-m mark {}",
                not(*n, format!("--mark {value:#x}/{mask:#x}"))
            )
        }
        Test::State { not: n, any } => {
            let states = states(*any).join(",");
            format!("-m conntrack {}", not(*n, format!("--ctstate {states}")))
        }
        Test::Status { .. } => "-m conntrack --ctstatus …".into(),
        Test::Type {
            side: of,
            not: n,
            kinds: bits,
        } => {
            let option = side(*of, "--src-type", "--dst-type", "…");
            format!(
                "-m addrtype {}",
                not(*n, format!("{option} {}", kinds(*bits)))
            )
        }
        Test::InSet { lookup, not: n } => not(*n, set(tables, lookup)),
        Test::Bytes { operand, .. } if is_family(operand) => String::new(),
        Test::Bytes { .. } | Test::Order { .. } => "…".into(),
        Test::Unknown(name) => unknown(name),
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

fn nft_test(tables: &Tables, test: &Test) -> String {
    let unless = |not: bool| if not { "!= " } else { "" };
    match test {
        Test::Address { side: of, not, net } => {
            let family = if net.addr().is_ipv4() { "ip" } else { "ip6" };
            let whole = net.prefix_len() == net.max_prefix_len();
            let net = if whole {
                net.addr().to_string()
            } else {
                net.to_string()
            };
            let of = side(*of, "saddr", "daddr", "…");
            format!("{family} {of} {}{net}", unless(*not))
        }
        Test::Between {
            side: of,
            not,
            ends,
        } => {
            let family = if ends.0.is_ipv4() { "ip" } else { "ip6" };
            let of = side(*of, "saddr", "daddr", "…");
            format!("{family} {of} {}{}-{}", unless(*not), ends.0, ends.1)
        }
        Test::Ports {
            side: of,
            not,
            ranges,
        } => {
            let of = side(*of, "sport", "dport", "…");
            format!("tcp {of} {}{}", unless(*not), listed(ranges, '-'))
        }
        Test::Interface {
            out,
            not,
            prefix,
            name,
        } => {
            let (of, star) = (
                if *out { "oifname" } else { "iifname" },
                if *prefix { "*" } else { "" },
            );
            format!("{of} {}\"{name}{star}\"", unless(*not))
        }
        Test::Protocol { number: 0, .. } => "…".into(),
        Test::Protocol { not, number } => {
            format!("meta l4proto {}{}", unless(*not), protocol(*number))
        }
        Test::Flags { not, mask, value } => {
            let (mask, value) = (flags(*mask), flags(*value));
            let text = format!(
                "tcp flags & ({mask}) {} {value}",
                if *not { "!=" } else { "==" }
            );
            text.to_lowercase()
        }
        Test::Mark {
            not,
            mask: u32::MAX,
            value,
        } => format!("meta mark {}{value:#x}", unless(*not)),
        Test::Mark { not, mask, value } => {
            let equals = if *not { "!=" } else { "==" };
            format!("meta mark & {mask:#x} {equals} {value:#x}")
        }
        Test::State { not, any } => {
            let states = states(*any).join(",").to_lowercase();
            format!("ct state {}{states}", unless(*not))
        }
        Test::Status { not, .. } => format!("ct status {}…", unless(*not)),
        Test::Type {
            side: of,
            not,
            kinds: bits,
        } => {
            let of = side(*of, "saddr", "daddr", "…");
            format!(
                "fib {of} type {}{}",
                unless(*not),
                kinds(*bits).to_lowercase()
            )
        }
        Test::InSet { lookup, not } => {
            format!("{} {}{}", key(lookup), unless(*not), set(tables, lookup))
        }
        Test::Bytes { operand, .. } if is_family(operand) => String::new(),
        Test::Bytes { operand: of, .. } | Test::Order { operand: of, .. } => match operand(of) {
            "…" => "…".into(),
            of => format!("{of} …"),
        },
        Test::Unknown(name) => unknown(name),
    }
}
