//! What the tap could not see, and what it saw and did not count.

use std::net::SocketAddr;

use tracer_common::{
    counters::Cell,
    words::{LocalOutcome, Lost},
};

use super::explanation::Circumstances;
use crate::{counted::Counted, evidence::Evidence, human, report::Sight};

/// Addresses and ports that are told by themselves.
const NAMED: usize = 4;

/// Of the window and the ports that were asked for.
pub(super) fn sight(evidence: &Evidence, about: &Circumstances<'_>) -> Sight {
    let wanted = |port: u16| about.ports.is_empty() || about.ports.contains(&port);
    let obstacles = evidence.obstacles.iter().flatten();
    let mut obstacles: Vec<String> = obstacles.map(ToString::to_string).collect();
    let skipped = [Lost::Contention, Lost::Fragment, Lost::Malformed];
    for why in skipped {
        let count = about.lost.get(why.index()).copied().unwrap_or(0);
        if count > 0 {
            let packets = human::counted(count, "packet");
            let why = why.as_str();
            obstacles.push(format!("The tap skipped {packets} in the window ({why})."));
        }
    }
    let mut not_counted = Vec::new();
    for (port, counters) in evidence.ports.iter().filter(|(port, _)| wanted(*port)) {
        not_counted.extend(dials(*port, counters));
    }
    let elsewhere = about.elsewhere.iter();
    not_counted.extend(others(elsewhere.filter(|(to, _)| wanted(to.port()))));
    Sight {
        complete: evidence.obstacles.is_some() && obstacles.is_empty(),
        obstacles,
        not_counted,
    }
}

/// Dials of this node's own processes to a port at which nothing else was tried: they pass
/// no interface that is tapped.
fn dials(port: u16, counters: &Counted) -> Option<String> {
    if counters.get(Cell::ATTEMPTS) != 0 || counters.get(Cell::PENDING) != 0 {
        return None;
    }
    let ends = LocalOutcome::ALL.iter();
    let ends = ends.map(|end| (counters.get(Cell::local_connect(*end)), end.as_str()));
    let ends: Vec<(u64, &str)> = ends.filter(|(count, _)| *count > 0).collect();
    let all = ends
        .iter()
        .fold(0, |all: u64, (n, _)| all.saturating_add(*n));
    let ways = ends.iter().map(|(count, way)| format!("{count} {way}"));
    let ways = Vec::from_iter(ways).join(", ");
    let (dials, were) = match all {
        0 => return None,
        1 => ("dial", "was"),
        _ => ("dials", "were"),
    };
    Some(format!(
        "{all} {dials} to port {port} {were} made on this node itself ({ways}); the tap sees none of them. To see one as an attempt, dial from another machine."
    ))
}

/// SYNs that passed by to other addresses, those with the most first.
fn others<'a>(elsewhere: impl Iterator<Item = (&'a SocketAddr, &'a u64)>) -> Vec<String> {
    let mut all: Vec<(&SocketAddr, u64)> = elsewhere.map(|(to, n)| (to, *n)).collect();
    all.sort_by_key(|(to, count)| (std::cmp::Reverse(*count), **to));
    let (named, rest) = all.split_at(all.len().min(NAMED));
    let mut lines: Vec<String> = named
        .iter()
        .map(|(to, count)| {
            let syns = human::counted(*count, "SYN");
            format!("{syns} to {to}, which is not an address of this node: not counted.")
        })
        .collect();
    if !rest.is_empty() {
        let syns = rest
            .iter()
            .fold(0, |all: u64, (_, n)| all.saturating_add(*n));
        let (syns, places) = (human::counted(syns, "SYN"), rest.len());
        lines.push(format!(
            "{syns} to {places} other addresses and ports that are not this node's: not counted."
        ));
    }
    lines
}
