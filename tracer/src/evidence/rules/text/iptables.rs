//! As iptables-save writes it.

use super::{flags, is_family, kinds, listed, not, protocol, set, side, states, unknown};
use crate::evidence::rules::table::{Tables, Test};

pub(super) fn test(tables: &Tables, test: &Test) -> String {
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
