//! As nft lists it.

use super::{flags, is_family, kinds, listed, protocol, set, side, states, unknown};
use crate::evidence::rules::table::{Field, Lookup, Operand, Side, Tables, Test};

pub(super) fn test(tables: &Tables, test: &Test) -> String {
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

pub(super) fn key(lookup: &Lookup) -> String {
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
