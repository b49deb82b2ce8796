//! Why a capture tells nothing of attempts, should it have none that were read. What
//! was not read is no reason to say that nobody tried.

use tracer_replay::{Player, Seen};

use super::unread;
use crate::human::counted;

/// Destinations that are named one by one.
const NAMED: usize = 3;

/// Why nothing can be concluded, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inconclusive {
    /// A sentence without its full stop.
    pub(super) cause: String,
    /// Another one.
    pub(super) remedy: String,
}

impl Inconclusive {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }
}

const CAPTURE_AT_THE_EDGE: &str = "capture where the load balancer's packets reach the node, as in \
                                   `tcpdump -i eth0 -s 0 -w FILE tcp or icmp or icmp6`";

/// Why nothing can be concluded from a capture without an attempt.
pub(super) fn inconclusive(player: &Player) -> Inconclusive {
    let seen = &player.seen;
    if seen.packets == 0 {
        return Inconclusive::new("no packet is in it", CAPTURE_AT_THE_EDGE);
    }
    if seen.segments == 0 {
        return nothing_read(seen);
    }
    passed_over(seen).unwrap_or_else(|| {
        Inconclusive::new(
            format!(
                "none of the {} in it opens a connection (there is no SYN without ACK)",
                counted(seen.segments, "TCP segment")
            ),
            "begin the capture before the connections do, and capture both directions",
        )
    })
}

/// Not one TCP header.
fn nothing_read(seen: &Seen) -> Inconclusive {
    let kinds = unread::by_count(seen);
    let hidden = seen.short > 0 || kinds.iter().any(|(what, _)| what.may_hide_tcp());
    let mut causes: Vec<String> = kinds
        .into_iter()
        .map(|(what, count)| unread::sentence(what, count, seen.packets))
        .collect();
    if seen.short > 0 {
        causes.push(unread::too_short(seen));
    }
    if seen.loopback > 0 {
        causes.push(format!(
            "{} on the loopback interface",
            unread::of(seen.loopback, seen.packets)
        ));
    }
    let lost: u64 = seen.lost.iter().sum();
    if lost > 0 {
        causes.push(format!(
            "{} fragments of TCP segments, or without a whole TCP header",
            unread::of(lost, seen.packets)
        ));
    }
    causes.truncate(unread::NAMED);
    let which = if hidden {
        "no TCP segment in it could be read"
    } else {
        "no TCP segment is in it"
    };
    let cause = format!("{which}: {}", causes.join("; "));
    Inconclusive::new(cause, CAPTURE_AT_THE_EDGE)
}

/// SYNs, but none to a watched port of the node.
fn passed_over(seen: &Seen) -> Option<Inconclusive> {
    let (elsewhere, dialled) = (seen.elsewhere.total(), seen.dialled.total());
    let unwatched = seen.unwatched.total();
    if elsewhere > 0 {
        let cause = format!(
            "no SYN to a watched port goes to a --node-address, {} to other addresses ({})",
            counted(elsewhere, "SYN"),
            unread::destinations(&seen.elsewhere, NAMED)
        );
        return Some(Inconclusive::new(
            cause,
            "name the addresses that clients and load balancer dial with --node-address",
        ));
    }
    if dialled > 0 {
        let cause = format!(
            "the capturing host itself sent all SYNs to watched ports ({})",
            unread::destinations(&seen.dialled, NAMED)
        );
        return Some(Inconclusive::new(
            cause,
            "capture on the node that these connections go to",
        ));
    }
    if unwatched > 0 {
        let (which, go) = match unwatched {
            1 => ("the only SYN in it does not go".to_owned(), "it goes"),
            _ => (
                format!("none of the {unwatched} SYNs in it goes"),
                "most go",
            ),
        };
        let cause = format!(
            "{which} to a watched port, {go} to {}: these are other ports than --node-ports names, \
             or the capture was made behind the node's NAT, where packets have the addresses and \
             ports of pods",
            unread::destinations(&seen.unwatched, NAMED)
        );
        let remedy = format!("{CAPTURE_AT_THE_EDGE}, or name the ports with --node-ports");
        return Some(Inconclusive::new(cause, remedy));
    }
    None
}
