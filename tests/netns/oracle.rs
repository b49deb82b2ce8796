//! One mixed run in both address families, counted twice: by the tracer, and
//! from a capture of the same interface by rules of its own. All counts have to
//! agree exactly, and those that the kernels of both ends keep as well.

use std::time::Duration;

use anyhow::Result;
use testbed::{
    Capture, RawClient, Topology, Tracer,
    addr::{NODE_V4, NODE_V6, phantom_v4, phantom_v6},
    capture::Captured,
    oracle::{self, Counts},
};

#[path = "mixed.rs"]
mod mixed;

use mixed::{
    CALLS, CLOSED, DEAF, EMPTY, ODD_CLOSED, ODD_OPEN, ODD_SILENT, OPEN, PORTS, PROBES, SILENT,
    dials, embryos, joined, oddities, scene,
};

const PLAIN: [u16; 5] = [OPEN, CLOSED, EMPTY, SILENT, DEAF];
const ALL: [u16; 8] = [
    OPEN, CLOSED, EMPTY, SILENT, DEAF, ODD_OPEN, ODD_CLOSED, ODD_SILENT,
];

const ARGS: [&str; 6] = [
    "--interface",
    "eth0",
    "--node-ports",
    PORTS,
    "--idle-after",
    "3s",
];
const LIMIT: Duration = Duration::from_secs(60);
/// All packets of one interface, and what the tracer counted of them.
fn run(bed: &Topology, tap: &str) -> Result<(Captured, Counts)> {
    let capture = Capture::start(&bed.node, "eth0", "tcp or icmp or icmp6")?;
    let tracer = Tracer::start(&bed.node, &[&ARGS[..], &["--wire-tap", tap]].concat())?;
    let raw = RawClient::open(&bed.client)?;
    oddities(&raw, NODE_V4.into(), phantom_v4(1).into())?;
    oddities(&raw, NODE_V6.into(), phantom_v6(1).into())?;
    std::thread::scope(|scope| {
        let six = scope.spawn(|| dials(&bed.client, NODE_V6.into()));
        dials(&bed.client, NODE_V4.into())?;
        joined(six)
    })?;
    let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
        metrics.sum("tracer_handshakes_pending", &[]) == 0.0
            && embryos(&bed.pods[0]).is_ok_and(|embryos| embryos == 0)
    })?;
    assert_eq!(metrics.sum("tracer_events_lost_total", &[]), 0.0);
    Ok((capture.stop()?, oracle::from_metrics(&metrics)))
}

fn sum(counts: &Counts, ports: &[u16], words: &[&str]) -> u64 {
    let wanted =
        |(port, word): &(u16, String)| ports.contains(port) && words.contains(&word.as_str());
    let found = counts.iter().filter(|(key, _)| wanted(key));
    found.map(|(_, count)| count).sum()
}

/// tshark's own opinion of each connection that a kernel made.
fn completeness_agrees(captured: &Captured, counts: &Counts) -> Result<()> {
    let filter = "tcp.flags.syn == 1 && tcp.flags.ack == 0 && !icmp && !icmpv6 \
                  && !tcp.analysis.retransmission";
    let mut seen = [0; 4];
    for row in captured.fields(filter, &["tcp.dstport", "tcp.completeness"])? {
        let number = |i: usize| row.get(i).and_then(|f| f.parse::<u16>().ok());
        if number(0).is_some_and(|port| PLAIN.contains(&port)) {
            // 1 SYN, 2 SYN-ACK, 4 ACK, 32 RST; data and FIN need the first three.
            let kind = match number(1) {
                Some(1) => 0,
                Some(37) => 1,
                Some(3) => 2,
                Some(more) if more & 7 == 7 => 3,
                other => anyhow::bail!("completeness {other:?}"),
            };
            seen[kind] += 1;
        }
    }
    let expected = [
        &["unreachable", "timed_out"][..],
        &["refused"],
        &["unacked"],
        &["established", "half_open"],
    ];
    assert_eq!(seen, expected.map(|words| sum(counts, &PLAIN, words)));
    Ok(())
}

/// The counters of the kernels at both ends.
fn kernels_agree(bed: &Topology, counts: &Counts) -> Result<()> {
    let pod = |group, name| bed.pods[0].counter(group, name);
    let client = |group, name| bed.client.counter(group, name);
    assert_eq!(
        pod("Tcp", "PassiveOpens")?,
        sum(counts, &ALL, &["established"])
    );
    assert_eq!(
        pod("TcpExt", "EmbryonicRsts")?,
        sum(counts, &ALL, &["half_open"])
    );
    assert_eq!(
        pod("Tcp", "RetransSegs")?,
        sum(counts, &ALL, &["again syn_ack"])
    );
    let dialled = sum(counts, &PLAIN, &["attempts"]) - sum(counts, &ALL, &["half_open"]);
    assert_eq!(client("Tcp", "ActiveOpens")?, dialled);
    assert_eq!(
        client("TcpExt", "TCPSynRetrans")?,
        sum(counts, &PLAIN, &["again syn"])
    );
    Ok(())
}

fn counts_agree(tap: &str) -> Result<()> {
    let (bed, _servers) = scene()?;
    let (captured, traced) = run(&bed, tap)?;
    let judged = oracle::judge(&captured, &ALL)?;
    let differences = oracle::differences(&judged, &traced);
    assert!(differences.is_empty(), "\n{differences}");
    // Nothing of what was driven has gone missing on both roads.
    for (word, least) in [
        ("established", 4 * (CALLS + PROBES)),
        ("half_open", 10),
        ("refused", 2 * (PROBES + 3)),
        ("unreachable", 4),
        ("timed_out", 8),
        ("unacked", 6),
        ("cancelled", 6),
        ("connection thrift", 2 * CALLS),
        ("connection other", 2 * CALLS),
        ("connection silent", 4 * PROBES),
    ] {
        assert_eq!(sum(&judged, &ALL, &[word]), least as u64, "{word}");
    }
    for word in ["again syn", "again syn_ack"] {
        assert!(sum(&judged, &PLAIN, &[word]) >= 4, "{word}: {judged:?}");
    }
    completeness_agrees(&captured, &judged)?;
    kernels_agree(&bed, &judged)
}

#[test]
fn the_tcx_tap_counts_what_a_capture_shows() -> Result<()> {
    counts_agree("tcx")
}

#[test]
fn the_packet_tap_counts_what_a_capture_shows() -> Result<()> {
    counts_agree("packet")
}
