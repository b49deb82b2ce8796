//! C1: the conntrack table is full of entries that may not be displaced.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{Netns, cleanup::ScratchDir, process::poll_until, rules};

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Reply, SOON},
};

/// How long the kernel may take to free a namespace.
const LIMIT: Duration = Duration::from_secs(30);

fn sysctl(node: &Netns, name: &str) -> Result<usize> {
    let text = node.run(&["sysctl", "-n", &format!("net.netfilter.{name}")])?;
    text.trim().parse().context(name.to_owned())
}

/// Fills this namespace's table; the limit is the machine's and stays.
fn fill(node: &Netns) -> Result<()> {
    let max = sysctl(node, "nf_conntrack_max")?;
    ensure!(
        max <= 1 << 19,
        "nf_conntrack_max is {max}: too many to fill"
    );
    // The daemon's own page has to be reachable.
    let page = "ip saddr 127.0.0.1 notrack";
    rules::add(node, &[("prerouting", "raw"), ("output", "raw")], page)?;
    let mut entries = String::new();
    // More than fit: loading ends with an error when the table is full.
    for i in 0..max + 16 {
        let (a, b, port) = (i >> 16, (i >> 8) & 0xff, 1024 + (i & 0xff));
        let _ = writeln!(
            entries,
            "-A -t 600 -u SEEN_REPLY,ASSURED -s 192.168.{a}.{b} -d 192.168.255.1 \
             -r 192.168.255.1 -q 192.168.{a}.{b} -p tcp --sport {port} --dport 80 \
             --reply-port-src 80 --reply-port-dst {port} --state ESTABLISHED"
        );
    }
    let dir = ScratchDir::new()?;
    let file = dir.write("entries", &entries)?;
    let file = file.to_str().context("path")?;
    let loaded = node.run(&["conntrack", "--load-file", file]);
    let count = sysctl(node, "nf_conntrack_count")?;
    ensure!(count >= max, "{count} of {max} entries: {loaded:?}");
    Ok(())
}

const SCENARIO: Scenario = Scenario {
    fault: |s| fill(&s.bed.node),
    traffic: |s| s.dials_end(4, SOON, Errno::EINPROGRESS),
    healthy: false,
    expect: || vec![failed("conntrack_full", 4)],
    ..Scenario::new(31458)
};

#[test]
fn table_full() -> Result<()> {
    SCENARIO.run()?;
    memory_is_back()
}

/// It is empty again by the time that anybody asks.
#[test]
fn table_was_full() -> Result<()> {
    Scenario {
        port: 31876,
        traffic: |s| {
            s.dials_end(4, SOON, Errno::EINPROGRESS)?;
            // The daemon looks at what changes only while attempts fail.
            std::thread::sleep(3 * SOON);
            s.bed.node.run(&["conntrack", "-F"])?;
            s.calls(4, SOON, Reply::Whole)
        },
        ..SCENARIO
    }
    .run()?;
    memory_is_back()
}

/// The entries go with the namespace, a little later.
fn memory_is_back() -> Result<()> {
    poll_until(LIMIT, "the memory of the entries is not back", || {
        Ok(entries_in_memory()
            .is_none_or(|n| n < 100_000)
            .then_some(()))
    })
}

/// conntrack entries of all namespaces; `None`: this kernel does not tell.
fn entries_in_memory() -> Option<u64> {
    let slabs = std::fs::read_to_string("/proc/slabinfo").ok()?;
    let line = slabs
        .lines()
        .find_map(|l| l.strip_prefix("nf_conntrack "))?;
    line.split_whitespace().next()?.parse().ok()
}
