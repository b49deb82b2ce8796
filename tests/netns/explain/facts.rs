//! What the kernel counted in each namespace: printed when a scenario fails.

use std::fmt::Write as _;

use testbed::{Netns, Topology};

/// Counters that healthy traffic moves and that say little here.
const DULL: &[&str] = &[
    "InReceives",
    "InDelivers",
    "OutRequests",
    "OutTransmits",
    "ForwDatagrams",
    "RtoAlgorithm",
    "RtoMin",
    "RtoMax",
    "MaxConn",
    "InSegs",
    "OutSegs",
    "InOctets",
    "OutOctets",
    "InNoECTPkts",
    "Forwarding",
    "DefaultTTL",
    "TCPPureAcks",
    "TCPHPHits",
    "TCPHPAcks",
    "TCPOrigDataSent",
    "TCPDelivered",
    "TCPAutoCorking",
    "TCPAckCompressed",
    "InBcastPkts",
    "OutBcastPkts",
    "OutMcastPkts",
    "InMcastPkts",
    "InBcastOctets",
    "OutBcastOctets",
    "OutMcastOctets",
    "InMcastOctets",
];

/// One line per namespace with the counters that are not 0, and conntrack's.
pub fn of(bed: &Topology) -> String {
    let mut text = String::new();
    let beyond = bed.beyond.iter().flat_map(|b| [&b.node, &b.pod]);
    let all = [&bed.client, &bed.node].into_iter().chain(&bed.pods);
    for ns in all.chain(beyond) {
        let _ = writeln!(text, "  {}: {}", ns.name(), counters(ns));
    }
    let _ = writeln!(text, "  conntrack: {}", conntrack(&bed.node));
    text
}

fn counters(ns: &Netns) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let Ok(Ok(text)) = ns.enter(|| Ok::<_, std::io::Error>(read("snmp")? + &read("netstat")?))
    else {
        return "unreadable".to_owned();
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for pair in lines.chunks_exact(2) {
        let names = pair[0].split_whitespace().skip(1);
        for (name, value) in names.zip(pair[1].split_whitespace().skip(1)) {
            if value != "0" && !DULL.contains(&name) {
                found.push(format!("{name}={value}"));
            }
        }
    }
    found.join(" ")
}

/// conntrack's statistics that are not 0, summed over CPUs.
fn conntrack(node: &Netns) -> String {
    let Ok(text) = node.run(&["conntrack", "-S"]) else {
        return "unreadable".to_owned();
    };
    let mut sums = std::collections::BTreeMap::new();
    for (name, value) in text.split_whitespace().filter_map(|w| w.split_once('=')) {
        *sums.entry(name).or_insert(0) += value.parse::<u64>().unwrap_or(0);
    }
    let sums = sums
        .iter()
        .filter(|(name, sum)| **name != "cpu" && **sum > 0);
    sums.map(|(name, sum)| format!("{name}={sum} ")).collect()
}
