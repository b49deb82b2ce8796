//! The table of `tracer explain`: which ports get a row, and what stands there.

use std::collections::{BTreeMap, BTreeSet};

use anstyle::{AnsiColor, Style};
use tracer_common::words::Outcome;

use super::{table::Row, text::Frame};
use crate::{
    human,
    report::{Explanation, PortRow},
};

/// Fewest and most characters of a name in the table; problems have it whole.
const NAME: (usize, usize) = (12, 36);
/// Rows of the table; healthy ports beyond them share one.
const ROWS: usize = 20;
/// Rows of ports with failures, unless all are asked for.
const SICK_ROWS: usize = 50;

const HEADINGS: [&str; 8] = [
    PORT,
    SERVICE,
    "TRIED",
    "OK",
    "FAILED",
    TRAFFIC,
    "P50, P99",
    "FAILED BY",
];
const PORT: &str = "  PORT";
const SERVICE: &str = "SERVICE";
const TRAFFIC: &str = "TRAFFIC";

/// The headings; there is a column for names when a port has one.
pub(super) fn headings(named: bool) -> Vec<&'static str> {
    let wanted = |heading: &&str| named || *heading != SERVICE;
    HEADINGS.into_iter().filter(wanted).collect()
}

/// The port leads each part of a table that is cut before TRAFFIC.
pub(super) fn cut(headings: &[&str]) -> (usize, usize) {
    let traffic = headings.iter().position(|heading| *heading == TRAFFIC);
    (1, traffic.unwrap_or(headings.len()))
}

/// Whether any of these ports has a name.
pub(super) fn are_named(explanation: &Explanation) -> bool {
    let mut ports = shown(explanation).into_iter();
    ports.any(|(port, _)| port.service.is_some())
}

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
/// share the last one.
pub(super) fn rows(explanation: &Explanation, frame: &Frame) -> (Vec<Row>, usize) {
    let mut ports = shown(explanation);
    ports.sort_by_key(|(port, judged)| (!judged, std::cmp::Reverse(failed(port)), port.node_port));
    let sick = ports
        .iter()
        .filter(|(port, judged)| *judged || failed(port) > 0);
    let shown = match sick.count() {
        _ if frame.all || ports.len() <= ROWS => ports.len(),
        sick => sick.clamp(ROWS - 1, SICK_ROWS),
    };
    let (own, shared) = ports.split_at(shown.min(ports.len()));
    let width = frame.width.unwrap_or(usize::MAX) / 4;
    let name = are_named(explanation).then_some(width.clamp(NAME.0, NAME.1));
    let mut rows: Vec<Row> = own
        .iter()
        .map(|(port, judged)| row(port, *judged, name))
        .collect();
    if !shared.is_empty() {
        let title = format!("  +{}", shared.len());
        rows.push(cells(title, &sum(shared), name, Style::new().dimmed()));
    }
    (rows, shared.len())
}

fn row(port: &PortRow, judged: bool, name: Option<usize>) -> Row {
    let (mark, style) = match (judged, failed(port)) {
        (true, _) => ('!', AnsiColor::Red.on_default()),
        (false, 0) => (' ', Style::new()),
        (false, _) => ('?', AnsiColor::Yellow.on_default()),
    };
    cells(
        format!("{mark} {}", human::node_port(port.node_port)),
        port,
        name,
        style,
    )
}

/// `name`: the most characters of a name, if ports have any.
fn cells(title: String, port: &PortRow, name: Option<usize>, style: Style) -> Row {
    let established = Outcome::Established.as_str();
    let half_open = Outcome::HalfOpen.as_str();
    let count = |word: &str| port.outcomes.get(word).copied().unwrap_or(0);
    let mut ok = vec![human::count(count(established))];
    ok.extend(items(&port.outcomes, |word| word == half_open));
    let answer = port.answer.iter();
    let answer = answer.flat_map(|answer| [answer.p50, answer.p99].map(human::latency));
    let mut cells = vec![vec![title]];
    if let Some(longest) = name {
        let service = port.service.iter();
        cells.push(service.map(|s| short(s, longest)).collect());
    }
    cells.extend([
        vec![human::count(port.attempts)],
        ok,
        items(&port.outcomes, |word| {
            ![established, half_open].contains(&word)
        }),
        items(&port.traffic, |_| true),
        answer.collect(),
        items(&port.answered_by, |_| true),
    ]);
    Row { style, cells }
}

/// A name that leaves room for the rest of its row.
fn short(name: &str, longest: usize) -> String {
    let name = human::printable(name);
    match name.char_indices().nth(longest) {
        None => name.into_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
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
        .map(|(word, count)| format!("{} {}", human::count(**count), human::printable(word)))
        .collect()
}

/// All of them as one; quantiles cannot be added up.
fn sum(ports: &[(&PortRow, bool)]) -> PortRow {
    let mut total = PortRow::default();
    for (port, _) in ports {
        total.attempts = total.attempts.saturating_add(port.attempts);
        total.untracked = total.untracked.saturating_add(port.untracked);
        total.undecided = total.undecided.saturating_add(port.undecided);
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
