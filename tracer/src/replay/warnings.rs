//! What was wrong with a capture, in sentences with counts.

use tracer_common::{counters::Cell, failure::FAILURES, words::Lost};
use tracer_replay::{Clock, FLOWS, Player, Seen};

use super::unread;
use crate::{counted::Counted, human::counted};

/// Destinations that are named one by one.
const NAMED: usize = 8;

/// What the replay as a whole has to say.
pub(super) fn warnings(player: &Player, ports: &[(u16, Counted)]) -> Vec<String> {
    let mut lines = Vec::new();
    unread::warnings(&player.seen, &mut lines);
    elsewhere(&player.seen, &mut lines);
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
    let mirrored = player.mirrored();
    if mirrored > 0 {
        lines.push(format!(
            "{} came both plain and encapsulated, or in several encapsulations, and were taken once",
            counted(mirrored, "SYN")
        ));
    }
    let unkinded = player.table.failures.unkinded;
    if unkinded > 0 {
        lines.push(format!(
            "{} not explained: more than {FAILURES} kinds, as in a scan of many ports",
            counted(unkinded, "failure")
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

/// SYNs to watched ports that are no attempts at the node.
fn elsewhere(seen: &Seen, lines: &mut Vec<String>) {
    if seen.loopback > 0 {
        lines.push(format!(
            "{} on the loopback interface left out: dials made on the node itself are no traffic \
             of its edge",
            counted(seen.loopback, "packet")
        ));
    }
    let sorted = seen.elsewhere.sorted();
    for (at, syns) in sorted.iter().take(NAMED) {
        lines.push(format!(
            "{} to {at} passed over: {} is no --node-address (a Service's address, or another \
             host's)",
            counted(*syns, "SYN"),
            at.ip()
        ));
    }
    let told: u64 = sorted.iter().take(NAMED).map(|(_, syns)| syns).sum();
    let others = seen.elsewhere.total().saturating_sub(told);
    if others > 0 {
        lines.push(format!(
            "{} to watched ports of yet other addresses passed over",
            counted(others, "SYN")
        ));
    }
    let dialled = seen.dialled.total();
    if dialled > 0 {
        lines.push(format!(
            "{} to watched ports passed over that the capturing host itself sent ({}): it is the \
             client there, not the node",
            counted(dialled, "SYN"),
            unread::destinations(&seen.dialled, NAMED)
        ));
    }
}

fn headers(seen: &Seen, lines: &mut Vec<String>) {
    if seen.short > 0 {
        lines.push(unread::too_short(seen));
    }
    if seen.unclassified > 0 {
        lines.push(unread::unclassified(seen));
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
