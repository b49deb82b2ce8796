//! What a replay tells: numbers, problems and failures, from packets alone.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tracer_common::{
    counters::Cell,
    failure::{Failure, FailureKey, Record, Reply},
    flow::Addr,
    words::{Lost, Traffic},
};

use tracer_replay::{Encapsulation, FLOWS, Player, Seen, Table};

use super::{conclusion::inconclusive, unread, warnings::warnings};
use crate::{
    counted::Counted,
    evidence::{Absent, Evidence, PACKETS_ONLY, Row},
    recorder::{self, ByVerdict, Listed, Scrape},
    report::{Event, Explanation, Sight},
    services,
    snapshot::Snapshot,
    verdict::{self, Verdict},
};

/// Destinations of SYNs passed over that are listed, for each reason.
const PASSED_OVER: usize = 20;

/// What packets cannot tell.
const NOT_VISIBLE: [&str; 7] = [
    "What the node's kernel did with packets: drops and their reasons, queues, conntrack, routes, sockets (run `tracer explain` on the node).",
    "Which backend an attempt was sent to.",
    "Who made a RST is told by its hop count: 64, 128 or 255 is the node's own, anything else a backend's. Captured elsewhere than on the node, it is always a backend's.",
    "How attempts ended that were still open when the capture ended.",
    "Connections that were there before the capture began.",
    "SYNs dropped before they reach the point of the capture, and packets that the capture itself has lost.",
    "Whether an attempt that got no connection was a health check, a spare connection or a client's call, unless its source is a --probe-source.",
];

/// The answer of `tracer replay -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Packets in the capture.
    pub packets: u64,
    /// Time of the first packet, seconds since the Unix epoch.
    pub from: Option<f64>,
    /// The node's addresses with the attempts at each.
    pub nodes: Vec<Node>,
    /// The node's addresses were inferred from SYNs to watched ports.
    pub inferred: bool,
    /// What was wrong with the capture.
    pub warnings: Vec<String>,
    /// Why nothing can be concluded: no attempt was read.
    pub inconclusive: Option<String>,
    /// Packets that were decoded out of an encapsulation, by the outermost one.
    pub encapsulated: Vec<Packets>,
    /// Packets that were not decoded, the most first.
    pub undecoded: Vec<Packets>,
    /// SYNs that open no attempt at the node, the most first.
    pub passed_over: Vec<PassedOver>,
    /// SYNs that open none either, to other destinations than these.
    pub passed_over_elsewhere: u64,
    /// Ports, problems, and what cannot be seen.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The first failures, one by one.
    pub failures: Vec<Event>,
    /// Failures that are not among them.
    pub failures_left_out: u64,
}

/// An address of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The address.
    pub address: IpAddr,
    /// SYNs to its watched ports, those sent again too.
    pub syns: u64,
}

/// Packets of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// The kind.
    pub what: String,
    /// How many.
    pub packets: u64,
}

/// SYNs that open no attempt at the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Where they went.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// How many, those sent again too.
    pub syns: u64,
    /// Why they are none: `other_address` (no `--node-address`), `sent_by_host` (the
    /// capturing host's own) or `unwatched_port`.
    pub why: String,
}

/// Answers after the last packet.
pub(super) fn answer(
    player: &Player,
    names: &Arc<services::Table>,
    inferred: bool,
    mut about: Vec<String>,
) -> Answer {
    let evidence = evidence(player, names);
    let judgement = verdict::judge(&evidence);
    let ports = evidence.ports.iter();
    let ports = ports.map(|(port, counters)| recorder::port_row(*port, counters, &evidence));
    about.extend(warnings(player, &evidence.ports));
    let attempts = evidence.ports.iter().map(|(_, c)| c.get(Cell::ATTEMPTS));
    let inconclusive = (attempts.sum::<u64>() == 0).then(|| inconclusive(player));
    let (passed_over, passed_over_elsewhere) = passed_over(&player.seen);
    Answer {
        packets: player.seen.packets,
        from: player.clock.start(),
        nodes: nodes(player),
        inferred,
        warnings: about,
        inconclusive: inconclusive.map(|why| format!("{}; {}", why.cause, why.remedy)),
        encapsulated: encapsulated(&player.seen),
        undecoded: undecoded(&player.seen),
        passed_over,
        passed_over_elsewhere,
        explanation: Explanation {
            window_s: evidence.window.as_secs_f64(),
            ports: ports.collect(),
            verdicts: judgement.findings,
            unexplained: judgement.unexplained + player.table.failures.unkinded,
            not_visible: NOT_VISIBLE.map(str::to_owned).into(),
            sight: Sight::default(),
        },
        failures: events(player, &evidence),
        failures_left_out: player.table.failures.unrecorded,
    }
}

fn encapsulated(seen: &Seen) -> Vec<Packets> {
    let kinds = Encapsulation::ALL.iter().zip(seen.encapsulated);
    let kinds = kinds.filter(|(_, packets)| *packets > 0);
    let kinds = kinds.map(|(what, packets)| Packets {
        what: what.name().to_owned(),
        packets,
    });
    kinds.collect()
}

fn undecoded(seen: &Seen) -> Vec<Packets> {
    let kinds = unread::by_count(seen).into_iter();
    let kinds = kinds.map(|(what, packets)| Packets {
        what: what.to_string(),
        packets,
    });
    kinds.collect()
}

/// SYNs by destination, and those to others.
fn passed_over(seen: &Seen) -> (Vec<PassedOver>, u64) {
    let (mut listed, mut all) = (Vec::new(), 0);
    for (destinations, why) in [
        (&seen.elsewhere, "other_address"),
        (&seen.dialled, "sent_by_host"),
        (&seen.unwatched, "unwatched_port"),
    ] {
        all += destinations.total();
        let most = destinations.sorted().into_iter().take(PASSED_OVER);
        listed.extend(most.map(|(at, syns)| PassedOver {
            address: at.ip(),
            port: at.port(),
            syns,
            why: why.to_owned(),
        }));
    }
    listed.sort_by_key(|one| std::cmp::Reverse(one.syns));
    let told: u64 = listed.iter().map(|one| one.syns).sum();
    (listed, all.saturating_sub(told))
}

fn nodes(player: &Player) -> Vec<Node> {
    let nodes = player.seen.nodes.iter();
    let mut nodes: Vec<Node> = nodes
        .map(|(address, syns)| Node {
            address: address.ip(),
            syns: *syns,
        })
        .collect();
    nodes.sort_by_key(|node| (std::cmp::Reverse(node.syns), node.address));
    nodes
}

/// The counts, and nothing else: everything else is absent.
fn evidence(player: &Player, names: &Arc<services::Table>) -> Evidence {
    let table = &player.table;
    let kinds = table.failures.kinds.iter();
    let mut rows: Vec<Row> = kinds
        .filter_map(|(kind, count)| row(kind, *count, table))
        .collect();
    rows.sort_unstable();
    let counters = table.counters().into_iter();
    Evidence {
        window: Duration::from_nanos(player.clock.elapsed()),
        ports: counters
            .map(|(port, all)| {
                let latencies = table.latencies(port).into_iter().flatten();
                let latencies = latencies.map(|(cell, count)| (*cell, *count));
                (port, Counted::new(&all, latencies))
            })
            .collect(),
        rows,
        names: Arc::clone(names),
        absent: vec![Absent::new(PACKETS_ONLY, "this is a capture".to_owned())],
        ..Evidence::default()
    }
}

fn row(kind: &FailureKey, count: u64, table: &Table) -> Option<Row> {
    let failure = *Failure::ALL.get(usize::from(kind.failure))?;
    let reply = *Reply::ALL.get(usize::from(kind.reply))?;
    Some(Row {
        dialled: table.failures.dialled(kind).map(Addr::ip),
        code: kind.code,
        seen: kind.seen,
        count,
        ..Row::new(table.port_at(kind.slot)?, failure, reply)
    })
}

fn events(player: &Player, evidence: &Evidence) -> Vec<Event> {
    let records = player.table.failures.records.iter();
    let mut events: Vec<Event> = records
        .filter_map(|record| event(record, player, evidence))
        .collect();
    events.sort_by(|a, b| a.time.total_cmp(&b.time));
    events
}

fn event(record: &Record, player: &Player, evidence: &Evidence) -> Option<Event> {
    let row = row(&record.key, 1, &player.table)?;
    let traffic = Traffic::ALL.get(usize::from(record.traffic))?;
    Some(Event {
        time: player.clock.epoch(record.at),
        client: recorder::address(record.flow.client, record.flow.client_port),
        address: record.flow.node.ip(),
        interface: None,
        node_port: row.node_port,
        service: evidence.names.service(row.node_port),
        backend: None,
        pod: None,
        outcome: row.failure.as_str().to_owned(),
        traffic: traffic.as_str().to_owned(),
        answered_by: row.reply.as_str().to_owned(),
        verdict: verdict::of_row(&row, evidence).0,
        evidence: recorder::note(&row),
        latency: record.at.saturating_sub(record.syn_at) as f64 / 1e9,
    })
}

/// What the daemon's metrics page would be made from.
pub(super) fn scrape(player: &Player, names: &Arc<services::Table>) -> Scrape {
    let evidence = evidence(player, names);
    let mut verdicts: BTreeMap<u16, ByVerdict> = BTreeMap::new();
    for row in evidence.rows.iter().filter(|row| row.failure.is_attempt()) {
        let counts = verdicts.entry(row.node_port).or_insert([0; Verdict::COUNT]);
        let verdict = verdict::of_row(row, &evidence).0;
        if let Some(count) = counts.get_mut(verdict.index()) {
            *count += row.count;
        }
    }
    let mut lost = player.seen.lost;
    if let Some(failures) = lost.get_mut(Lost::Failures.index()) {
        *failures += player.table.failures.unkinded;
    }
    let changed = |(_, counters): &(u16, Counted)| *counters != Counted::default();
    let snapshot = Snapshot {
        ports: evidence.ports.into_iter().filter(changed).collect(),
        sharing: Vec::new(),
        lost,
        flows: player.table.flows() as u64,
        misses: 0,
        addresses: 0,
        flows_capacity: FLOWS as u64,
        hooks: Vec::new(),
    };
    Scrape {
        listed: Listed::all(&snapshot.ports, &Vec::from_iter(verdicts)),
        snapshot: snapshot.into(),
        backends: None,
        names: evidence.names,
        kubernetes: None,
        namespaces: 0,
        clock_steps: 0,
        late_rounds: 0,
    }
}
