//! Puts evidence and judgement into the form that users get.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tracer_common::{counters::Cell, words::Lost};

use super::{OTHER, latency::latency, sight::sight, tried::Tried};
use crate::{
    counted::Counted,
    evidence::{Backend, Evidence, Obstacle, Place, Row},
    report::{BackendRow, Explanation, PortRow},
    snapshot::{HookStatus, SHARED_PORT},
    verdict::{Judgement, Verdict},
};

/// What no evidence on one node can tell: of any, of one where attempts failed whose class
/// is not known, of one with backends elsewhere, of one that was tried, and of one with
/// another eBPF datapath.
const BEFORE: &str = "SYNs dropped before they reach this node (security group, network ACL, limits of the instance): only their absence shows.";
const CLASS: &str = "Whether an attempt that got no connection was a health check, a spare connection or a client's call, unless its source is a --probe-source.";
const BEYOND: &str = "The far side of a backend on another node, unless tracer runs there too.";
const RETRIES: &str = "Retries inside the load balancer, and whether it counts connections closed by the server as errors.";
const DATAPATH: &str = "Drops inside the eBPF datapath (XDP or tc programs are attached here): it has its own drop events.";

/// What was asked, and how the recorder fared.
pub(super) struct Circumstances<'a> {
    /// The window that was asked for.
    pub(super) asked: Duration,
    /// How far back it could reach.
    pub(super) reach: Duration,
    /// State of the hooks.
    pub(super) hooks: &'a [HookStatus],
    /// What was not taken into account within the window.
    pub(super) lost: [u64; Lost::COUNT],
    /// SYNs to watched ports of addresses that are not the node's own.
    pub(super) elsewhere: BTreeMap<SocketAddr, u64>,
    /// Ports that were asked for; empty: all.
    pub(super) ports: &'a [u16],
    /// Ports that count together, as [`SHARED_PORT`].
    pub(super) sharing: &'a [u16],
}

/// The whole answer.
pub(super) fn explanation(
    evidence: &Evidence,
    judgement: Judgement,
    about: &Circumstances<'_>,
) -> Explanation {
    let shares = |port: &u16| about.sharing.binary_search(port).is_ok();
    let wanted = |port: u16| {
        let asked = about.ports.is_empty() || about.ports.contains(&port);
        asked || port == SHARED_PORT && about.ports.iter().any(shares)
    };
    let mut verdicts = judgement.findings;
    verdicts.retain(|finding| wanted(finding.node_port));
    let shown = evidence.ports.iter().filter(|(port, _)| wanted(*port));
    let ports: Vec<PortRow> = shown
        .map(|(port, counters)| port_row(*port, counters, evidence))
        .collect();
    let rows = evidence.rows.iter();
    let attempts = rows.filter(|row| row.failure.is_attempt() && wanted(row.node_port));
    let failed: u64 = attempts.map(|row| row.count).sum();
    let explained = verdicts
        .iter()
        .filter(|f| f.verdict != Verdict::Unexplained);
    let unexplained = failed.saturating_sub(explained.map(|f| f.failed).sum());
    Explanation {
        window_s: evidence.window.as_secs_f64(),
        ports,
        verdicts,
        unexplained,
        not_visible: not_visible(evidence, about),
        sight: sight(evidence, about),
    }
}

/// One port of an answer.
#[must_use]
pub fn port_row(port: u16, counters: &Counted, evidence: &Evidence) -> PortRow {
    let is_own = |of: u16| evidence.ports.iter().any(|(port, _)| *port == of);
    let rows = evidence.rows.iter().filter(|row| match port {
        SHARED_PORT => !is_own(row.node_port),
        port => row.node_port == port,
    });
    let tried = Tried::new(
        counters,
        rows.map(|row| (row.failure, row.reply, row.count)),
    );
    PortRow {
        node_port: port,
        service: evidence.names.service(port),
        health_check_port: evidence.names.health_check_port(port),
        attempts: tried.attempts,
        begun: tried.begun,
        failed: tried.failed,
        untracked: tried.untracked,
        undecided: tried.undecided,
        outcomes: tried.outcomes,
        traffic: tried.traffic,
        answer: latency(counters),
        answered_by: tried.answered_by,
        backends: evidence
            .backends
            .iter()
            .filter(|backend| backend.node_port == port)
            .map(|backend| backend_row(backend, &evidence.rows))
            .collect(),
    }
}

fn backend_row(backend: &Backend, rows: &[Row]) -> BackendRow {
    let key = (backend.node_port, Some(backend.address));
    let mut failures = BTreeMap::new();
    let mut failed = 0;
    for row in rows.iter().filter(|r| (r.node_port, r.backend) == key) {
        *failures.entry(row.failure.as_str().to_owned()).or_default() += row.count;
        failed += if row.failure.is_attempt() {
            row.count
        } else {
            0
        };
    }
    let place = match backend.place {
        Place::Here(_) => "here",
        Place::Beyond => "beyond",
        Place::Unknown => "unknown",
    };
    BackendRow {
        address: backend.address,
        place: place.to_owned(),
        attempts: backend.attempts.max(failed),
        passive_opens: backend.passive_opens,
        failures,
    }
}

fn not_visible(evidence: &Evidence, about: &Circumstances<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let second = Duration::from_secs(1);
    if about.reach + second < about.asked {
        lines.push(format!(
            "Anything older than {:.0} s: {:.0} s were asked for, but no more is remembered.",
            about.reach.as_secs_f64(),
            about.asked.as_secs_f64()
        ));
    }
    for absent in &evidence.absent {
        lines.push(format!("{}: {}", absent.source, absent.why));
    }
    for hook in about.hooks.iter().filter(|hook| !hook.attached) {
        lines.push(format!("Hook {} is absent: {}", hook.hook, hook.detail));
    }
    for (what, count) in Lost::ALL.iter().zip(about.lost) {
        if count != 0 {
            let what = what.as_str();
            lines.push(format!("{count} events were lost in the window ({what})."));
        }
    }
    if evidence.ports.iter().any(|(port, _)| *port == SHARED_PORT) {
        let count = about.sharing.len();
        lines.push(format!(
            "Attempts at each of {count} ports that were tried when very many had been, as by a scan: they count together, as port {OTHER}; their failures are told apart."
        ));
    }
    let owed = evidence.ports.iter();
    let owed: u64 = owed.map(|(_, c)| c.get(Cell::UNREPORTED)).sum();
    if owed != 0 {
        lines.push(format!(
            "Why {owed} attempts of the last second or two were refused: asked again, it tells."
        ));
    }
    let untracked = evidence.ports.iter();
    let untracked: u64 = untracked.map(|(_, c)| c.get(Cell::UNTRACKED)).sum();
    if untracked != 0 {
        lines.push(format!(
            "{untracked} attempts that were not followed, for the flow table was full or busy (--flows), or somebody else sent SYNs in their client's name."
        ));
    }
    lines.extend(never(evidence).map(str::to_owned));
    lines
}

/// What no evidence on this node can tell.
fn never(evidence: &Evidence) -> impl Iterator<Item = &'static str> {
    let failed = evidence.rows.iter().any(|row| row.failure.is_attempt());
    let is_beyond = |backend: &Backend| !matches!(backend.place, Place::Here(_));
    let tried = evidence.ports.iter();
    let tried = tried
        .map(|(_, counters)| counters.get(Cell::ATTEMPTS))
        .any(|n| n > 0);
    let mut obstacles = evidence.obstacles.iter().flatten();
    let is_program = |o: &Obstacle| matches!(o, Obstacle::Xdp(..) | Obstacle::Program(..));
    [
        (BEFORE, true),
        (CLASS, failed),
        (BEYOND, evidence.backends.iter().any(is_beyond)),
        (RETRIES, tried),
        (DATAPATH, obstacles.any(is_program)),
    ]
    .into_iter()
    .filter_map(|(line, applies)| applies.then_some(line))
}
