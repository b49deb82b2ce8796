//! What was wrong with a capture, in sentences with counts.

use tracer_common::{counters::Cell, words::Lost};
use tracer_replay::{Clock, FLOWS, Player, Seen};

use crate::{counted::Counted, human::counted};

/// Link types that are named one by one.
const NAMED: usize = 8;

/// What the replay as a whole has to say.
pub(super) fn warnings(player: &Player, ports: &[(u16, Counted)]) -> Vec<String> {
    let mut lines = Vec::new();
    link_types(&player.seen, &mut lines);
    elsewhere(&player.seen, ports.is_empty(), &mut lines);
    headers(&player.seen, &mut lines);
    times(&player.clock, &mut lines);
    let again = player.duplicates();
    if again > 0 {
        lines.push(format!(
            "{} came twice within 5 ms with the same headers and were taken once: this kind of \
             capture of all interfaces (cooked v1) does not say which interface each is from; \
             `tcpdump -y LINUX_SLL2` does",
            counted(again, "segment")
        ));
    }
    let untracked: u64 = ports.iter().map(|(_, c)| c.get(Cell::UNTRACKED)).sum();
    if untracked > 0 {
        lines.push(format!(
            "{} not followed: more than {FLOWS} at once",
            counted(untracked, "attempt")
        ));
    }
    lines
}

fn link_types(seen: &Seen, lines: &mut Vec<String>) {
    for (link_type, count) in seen.link_types.iter().take(NAMED) {
        lines.push(format!(
            "{} of link type {link_type} left out: only Ethernet (1), Linux cooked (113, 276), \
             raw IP (101, 228, 229) and loopback (0, 108) are read",
            counted(*count, "packet")
        ));
    }
    let rest = seen.link_types.iter().skip(NAMED);
    let rest: u64 = rest.map(|(_, count)| count).sum();
    if rest > 0 {
        lines.push(format!(
            "{} of other link types left out",
            counted(rest, "packet")
        ));
    }
    if seen.loopback > 0 {
        lines.push(format!(
            "{} on the loopback interface left out: dials made on the node itself are no traffic \
             of its edge",
            counted(seen.loopback, "packet")
        ));
    }
}

/// Attempts that are none at a watched port of the node.
fn elsewhere(seen: &Seen, nothing: bool, lines: &mut Vec<String>) {
    if seen.elsewhere > 0 {
        lines.push(format!(
            "{} to watched ports of other addresses than the node's left out",
            counted(seen.elsewhere, "SYN")
        ));
    }
    if seen.dialled > 0 {
        lines.push(format!(
            "{} to watched ports left out that the capturing host itself sent: it is the client \
             there, not the node",
            counted(seen.dialled, "SYN")
        ));
    }
    let others: u64 = seen.unwatched.values().sum();
    if !nothing || others == 0 {
        return;
    }
    let mut ports: Vec<(u16, u64)> = seen.unwatched.iter().map(|(p, n)| (*p, *n)).collect();
    ports.sort_by_key(|(port, count)| (std::cmp::Reverse(*count), *port));
    let most = ports.iter().take(NAMED).map(|(port, _)| port.to_string());
    lines.push(format!(
        "{} to ports that are not watched, most of them to {}: name the ones that matter with \
         --node-ports",
        counted(others, "SYN"),
        most.collect::<Vec<_>>().join(", ")
    ));
}

fn headers(seen: &Seen, lines: &mut Vec<String>) {
    if seen.short > 0 {
        lines.push(format!(
            "{} too short for their headers left out: capture with a larger snaplen (tcpdump -s \
             128 or more)",
            counted(seen.short, "packet")
        ));
    }
    if seen.overlong > 0 {
        lines.push(format!(
            "{} longer in the capture than on the wire: taken as captured",
            counted(seen.overlong, "packet")
        ));
    }
    for (why, count) in Lost::ALL.iter().zip(seen.lost) {
        let what = match why {
            Lost::Fragment => "IP fragments of TCP segments",
            Lost::Malformed => "wrong or missing TCP headers",
            _ => continue,
        };
        if count > 0 {
            lines.push(format!("{} left out: {what}", counted(count, "packet")));
        }
    }
}

fn times(clock: &Clock, lines: &mut Vec<String>) {
    if clock.disordered > 0 {
        lines.push(format!(
            "{} out of order: taken at the time of the packet before",
            counted(clock.disordered, "packet")
        ));
    }
    if clock.set_back > 0 {
        lines.push(format!(
            "Time went back {} by more than a second (the clock was set, or files are in another \
             order than they were written): it goes on from where it was",
            counted(clock.set_back, "time")
        ));
    }
    if clock.timeless > 0 {
        lines.push(format!(
            "{} without a time: taken at the time of the packet before",
            counted(clock.timeless, "packet")
        ));
    }
}
