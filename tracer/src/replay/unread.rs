//! What was in a capture and is no part of its numbers, in sentences with counts.

use tracer_replay::{Destinations, Seen, Undecoded};

use crate::human::counted;

/// Kinds that are named one by one.
pub(super) const NAMED: usize = 8;

/// Warnings of packets that were not decoded though TCP to the node may be inside.
pub(super) fn warnings(seen: &Seen, lines: &mut Vec<String>) {
    let kinds = by_count(seen).into_iter();
    let kinds: Vec<_> = kinds.filter(|(what, _)| what.may_hide_tcp()).collect();
    let (named, rest) = kinds.split_at(kinds.len().min(NAMED));
    for (what, count) in named {
        lines.push(sentence(*what, *count, seen.packets));
    }
    let packets: u64 = rest.iter().map(|(_, count)| count).sum();
    if packets > 0 {
        lines.push(format!(
            "{} {} other kinds that are not decoded",
            of(packets, seen.packets),
            rest.len()
        ));
    }
}

/// What was not decoded, the most first.
pub(super) fn by_count(seen: &Seen) -> Vec<(Undecoded, u64)> {
    let kinds = seen.undecoded.iter();
    let mut kinds: Vec<_> = kinds.map(|(what, count)| (*what, *count)).collect();
    kinds.sort_by_key(|(what, count)| (std::cmp::Reverse(*count), *what));
    kinds
}

/// So many of all packets are of a kind that is not decoded.
pub(super) fn sentence(what: Undecoded, count: u64, packets: u64) -> String {
    let of = of(count, packets);
    match what {
        Undecoded::LinkType(_) => format!(
            "{of} of {what}, which is not decoded: only Ethernet (1), Linux cooked (113, 276), raw \
             IP (101, 228, 229) and loopback (0, 108) are"
        ),
        Undecoded::Nested => format!("{of} {what}, which are not decoded"),
        plain if !plain.may_hide_tcp() => format!("{of} {what}"),
        Undecoded::Malformed(_) => format!("{of} not decoded for a {what}"),
        _ => format!("{of} {what}, which is not decoded"),
    }
}

/// Headers that the capture has not.
pub(super) fn too_short(seen: &Seen) -> String {
    let packets = counted(seen.short, "packet");
    format!(
        "{packets} too short for their headers left out: {}",
        snaplen(seen)
    )
}

/// First bytes that the capture has not.
pub(super) fn unclassified(seen: &Seen) -> String {
    let (which, first) = match seen.unclassified {
        1 => ("1 connection is".to_owned(), "its"),
        many => (format!("{many} connections are"), "their"),
    };
    format!(
        "{which} of traffic `unknown`, for the client's first bytes are not in the capture, which \
         would tell {first} class: {}",
        snaplen(seen)
    )
}

/// What cut packets short, and how to capture.
fn snaplen(seen: &Seen) -> String {
    /// Ethernet, IPv6 and TCP with all of its options, and what encapsulates them.
    const HEADERS: [u32; 2] = [128, 192];
    let encapsulated = seen.encapsulated.iter().any(|packets| *packets > 0);
    let headers = HEADERS[usize::from(encapsulated)];
    let least = seen.needed.max(headers).next_multiple_of(32);
    if seen.snaplen == 0 {
        return "what mirrored them has cut them; let it send whole packets".to_owned();
    }
    let snaplen = seen.snaplen;
    format!(
        "its snaplen is {snaplen} bytes; capture whole packets (`tcpdump -s 0`) or at least \
         {least} bytes of each (`tcpdump -s {least}`)"
    )
}

/// `5 of 7 packets are`.
pub(super) fn of(count: u64, packets: u64) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{count} of {} {are}", counted(packets, "packet"))
}

/// The destinations with the most SYNs: `10.0.0.7:9090 (3 SYNs), 10.0.0.8:9090 (1 SYN)`.
pub(super) fn destinations(destinations: &Destinations, named: usize) -> String {
    let sorted = destinations.sorted();
    let mut parts: Vec<String> = sorted
        .iter()
        .take(named)
        .map(|(at, syns)| format!("{at} ({})", counted(*syns, "SYN")))
        .collect();
    let told: u64 = sorted.iter().take(named).map(|(_, syns)| syns).sum();
    let others = destinations.total().saturating_sub(told);
    if others > 0 {
        parts.push(format!("others ({})", counted(others, "SYN")));
    }
    parts.join(", ")
}
