//! C2: two clients dial at the same moment from the same source port, and masquerading
//! leaves it as it is: conntrack can insert one of the two entries. The other client's SYN
//! is lost, and the one that it sends a second later gets through.

use std::{net::Ipv4Addr, sync::Barrier, time::Duration};

use anyhow::{Result, ensure};
use testbed::{peer::Dial, rules};

use super::{
    expect::{Backend, Count, spoilt},
    other_movers::conntrack,
    scenario::Scenario,
    scene::{Scene, at_once},
};

/// The second client's address, beside that of the bed's client.
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 60, 0, 99);
/// Longer than the first retransmission takes.
const LIMIT: Duration = Duration::from_secs(3);
/// Source ports tried at most. On two idle CPUs nearly each pair clashes.
const PAIRS: u16 = 300;
/// SYNs that have to be lost.
const LOST: u64 = 3;
/// Rules between NAT and the confirmation of the entry, so that two packets can be between
/// the two at once: each takes some 10 ns.
const RULES: usize = 4000;

/// Rules that match nothing, after those of masquerading.
fn slow_down(s: &Scene) -> Result<()> {
    let nothing = vec!["meta mark 0x7e57 accept"; RULES].join("\n");
    s.keep(rules::add(
        &s.bed.node,
        &[("postrouting", "300")],
        &nothing,
    )?);
    Ok(())
}

fn dial_in_pairs(s: &Scene) -> Result<()> {
    let first = s.client().ip();
    for port in (42_000..).take(usize::from(PAIRS)) {
        let both = Barrier::new(2);
        let streams = at_once(2, |i| {
            let address = if i == 0 { first } else { SECOND.into() };
            let dial = Dial::new(&s.bed.client, s.node_port(s.port));
            let dial = dial.from((address, port)).limit(LIMIT);
            both.wait();
            dial.stream()
        })?;
        s.keep(streams);
        let [lost, _] = conntrack(s)?;
        if lost >= LOST {
            return Ok(());
        }
    }
    ensure!(false, "{PAIRS} pairs, and fewer than {LOST} clashed");
    Ok(())
}

#[test]
fn two_clients_at_once() -> Result<()> {
    let scenario = Scenario {
        options: &["--handshake-timeout", "4s", "--idle-after", "1s"],
        fault: |s| {
            let second = format!("addr add {SECOND}/24 dev eth0");
            s.bed.client.ip(&second)?;
            // Keeps the client's port where it is free.
            s.keep(rules::masquerade_from(&s.bed.node, 9090, "1024-65535")?);
            slow_down(s)
        },
        traffic: dial_in_pairs,
        expect: || {
            vec![
                spoilt("conntrack_clash", 0)
                    .connections(Count::AtLeast(LOST))
                    .backend(Backend::Any),
            ]
        },
        ..Scenario::new(31890)
    };
    scenario.run()
}
