//! The table of `tracer explain`: which ports get a row, and what stands there.

use std::collections::{BTreeMap, BTreeSet};

use anstyle::{AnsiColor, Style};
use tracer_common::words::Outcome;

use super::{table::Row, words};
use crate::{
    human,
    report::{Explanation, PortRow},
};

/// Rows of the table; healthy ports beyond them share one.
const ROWS: usize = 20;

pub(super) const HEADINGS: [&str; 7] = [
    "  PORT",
    "TRIED",
    "OK",
    "FAILED",
    "TRAFFIC",
    "P50, P99",
    "FAILED BY",
];
/// The port leads each part of a table that is cut before TRAFFIC.
pub(super) const CUT: (usize, usize) = (1, 4);

/// Attempts of a port with a failed outcome.
pub(super) fn failed(port: &PortRow) -> u64 {
    let good = [Outcome::Established.as_str(), Outcome::HalfOpen.as_str()];
    let bad = port.outcomes.iter();
    let bad = bad.filter(|(word, _)| !good.contains(&word.as_str()));
    bad.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// The ports that are worth a row, and whether they have a verdict: nothing is
/// to be said of one that only has older connections.
pub(super) fn shown(explanation: &Explanation) -> Vec<(&PortRow, bool)> {
    let judged: BTreeSet<u16> = explanation.verdicts.iter().map(|v| v.node_port).collect();
    let ports = explanation.ports.iter();
    ports
        .map(|port| (port, judged.contains(&port.node_port)))
        .filter(|(port, judged)| *judged || port.attempts > 0 || failed(port) > 0)
        .collect()
}

/// The rows, ports with a verdict first, then those with failures, and how many
/// healthy ports share the last one.
pub(super) fn rows(explanation: &Explanation, all: bool) -> (Vec<Row>, usize) {
    let mut ports = shown(explanation);
    ports.sort_by_key(|(port, judged)| (!judged, std::cmp::Reverse(failed(port)), port.node_port));
    let sick = ports
        .iter()
        .filter(|(port, judged)| *judged || failed(port) > 0);
    let shown = match sick.count() {
        _ if all || ports.len() <= ROWS => ports.len(),
        sick => sick.max(ROWS - 1),
    };
    let (own, shared) = ports.split_at(shown.min(ports.len()));
    let mut rows: Vec<Row> = own
        .iter()
        .map(|(port, judged)| row(port, *judged))
        .collect();
    if !shared.is_empty() {
        let title = format!("  +{}", shared.len());
        rows.push(cells(title, &sum(shared), Style::new().dimmed()));
    }
    (rows, shared.len())
}

fn row(port: &PortRow, judged: bool) -> Row {
    let (mark, style) = match (judged, failed(port)) {
        (true, _) => ('!', AnsiColor::Red.on_default()),
        (false, 0) => (' ', Style::new()),
        (false, _) => ('?', AnsiColor::Yellow.on_default()),
    };
    cells(format!("{mark} {}", port.node_port), port, style)
}

fn cells(title: String, port: &PortRow, style: Style) -> Row {
    let established = Outcome::Established.as_str();
    let half_open = Outcome::HalfOpen.as_str();
    let count = |word: &str| port.outcomes.get(word).copied().unwrap_or(0);
    let mut ok = vec![count(established).to_string()];
    ok.extend(items(&port.outcomes, |word| word == half_open));
    let answer = port.answer.iter();
    let answer = answer.flat_map(|answer| [answer.p50, answer.p99].map(human::duration));
    Row {
        style,
        cells: vec![
            vec![title],
            vec![port.attempts.to_string()],
            ok,
            items(&port.outcomes, |word| {
                ![established, half_open].contains(&word)
            }),
            items(&port.traffic, |_| true),
            answer.collect(),
            items(&port.answered_by, |_| true),
        ],
    }
}

/// `12 refused` for every count that is not 0, the largest first.
fn items(counts: &BTreeMap<String, u64>, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut counts: Vec<(&String, &u64)> = counts
        .iter()
        .filter(|(word, count)| **count > 0 && wanted(word))
        .collect();
    counts.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), word.as_str()));
    let items = counts.iter();
    items
        .map(|(word, count)| format!("{count} {}", words::label(word)))
        .collect()
}

/// All of them as one; quantiles cannot be added up.
fn sum(ports: &[(&PortRow, bool)]) -> PortRow {
    let mut total = PortRow {
        node_port: 0,
        attempts: 0,
        outcomes: BTreeMap::new(),
        traffic: BTreeMap::new(),
        answer: None,
        answered_by: BTreeMap::new(),
    };
    for (port, _) in ports {
        total.attempts = total.attempts.saturating_add(port.attempts);
        for (into, from) in [
            (&mut total.outcomes, &port.outcomes),
            (&mut total.traffic, &port.traffic),
            (&mut total.answered_by, &port.answered_by),
        ] {
            for (word, count) in from {
                let place = into.entry(word.clone()).or_default();
                *place = place.saturating_add(*count);
            }
        }
    }
    total
}
