//! As many rules as a large node has. What it takes is printed:
//! `cargo test --release -p tracer rules::tests::scale -- --nocapture`.

use std::{fmt::Write as _, time::Duration};

use nix::time::{ClockId, clock_gettime};

use super::bed::{apart, read, run, syn};
use crate::evidence::rules::{Matches, Reader};

const RULES: u32 = 20_000;

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

fn measure(what: &str) {
    let mut reader = Reader::default();
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let start = cpu();
        let rules = read(&mut reader, &[syn(30001)]);
        let reading = cpu() - start;
        let traced = rules.trace(&syn(30001));
        best = best.min((reading, cpu() - start - reading));
        assert_eq!(traced.stops.len(), 1, "{:#?}", traced.stops);
        assert_eq!(traced.stops[0].matches, Matches::Yes);
    }
    println!(
        "{what}: {RULES} rules read in {:?}, a SYN traced in {:?} (CPU)",
        best.0, best.1
    );
}

fn addresses() -> impl Iterator<Item = String> {
    (0..RULES - 1).map(|n| format!("172.{}.{}.{}", 16 + n / 65536, n / 256 % 256, n % 256))
}

#[test]
fn iptables() {
    for restore in ["iptables-legacy-restore", "iptables-nft-restore"] {
        apart(|| {
            let mut rules = "*filter\n".to_owned();
            for address in addresses() {
                let _ = writeln!(
                    rules,
                    "-A INPUT -s {address} -p tcp -m comment --comment \"banned by guard\" \
                     -m tcp --dport 30001 -j DROP"
                );
            }
            rules.push_str("-A INPUT -s 10.66.1.6 -p tcp --dport 30001 -j DROP\nCOMMIT\n");
            run(&[restore], &rules);
            measure(restore);
        });
    }
}

#[test]
fn nftables() {
    apart(|| {
        let mut rules =
            "table ip guard {\nchain in { type filter hook input priority 0;\n".to_owned();
        for address in addresses() {
            let _ = writeln!(
                rules,
                "ip saddr {address} tcp dport 30001 counter drop comment \"banned\""
            );
        }
        rules.push_str("ip saddr 10.66.1.6 tcp dport 30001 counter drop\n}\n}\n");
        run(&["nft", "-f", "-"], &rules);
        measure("nft");
    });
}
