//! conntrack: table full, clash, no source port left, invalid segments (failures C1 to
//! C4).

use std::collections::BTreeSet;

use tracer_common::{
    counters::Cell,
    failure::{Failure, seen},
    words::Retransmit,
};

use super::{
    Certainty, Verdict,
    case::{Case, sum},
    drops::Cause,
    opinion::Opinion,
    rules,
};
use crate::evidence::{Conntrack, Row};

/// C1 to C4: what conntrack itself refused.
pub(super) fn refused(case: &Case<'_>) -> Option<Opinion> {
    let counters = case.evidence.conntrack;
    if case.is_spoilt() {
        return invalid(case, counters.map_or(0, |c| c.invalid));
    }
    let hook = matches!(case.syn_cause(), Some(Cause::Hook | Cause::Unnamed));
    // Without the hook that sees drops, the counters have to do.
    let blind = case.is_silent() && case.cause().is_none() && !case.drops_are_noted();
    if !(hook || blind) || !(case.is_silent() || case.is_late()) {
        return None;
    }
    let told = rules::told(case);
    if told.culprit.as_ref().is_some_and(|culprit| culprit.sure) {
        return None;
    }
    let counters = counters?;
    let opinion = match case.address() {
        Some(_) => no_tuple(case, counters),
        // The backend of an entry that was never inserted may be unknown.
        None => full(case, counters).or_else(|| {
            let owned = case
                .evidence
                .rows
                .iter()
                .any(|r| r.backend.is_some() && is_hook(r));
            no_tuple(case, counters).filter(|_| !owned)
        }),
    }?;
    let named = case.syn_cause() == Some(Cause::Hook);
    // A full table refuses before NAT, so that later rules are not to blame.
    let full = opinion.verdict == Verdict::ConntrackFull;
    let clear = told.clear || (full && told.clear_before_dnat);
    // The counters are the node's: other ports, UDP and forwarded traffic move them too.
    let certain = named && clear && are_ours(case, counters);
    Some(if certain {
        opinion
    } else {
        Opinion {
            excludes:
                "The counter is the node's, and others move it, too; a rule that drops is the \
                       other possibility."
                    .to_owned(),
            ..opinion.certain_if(false)
        }
    })
}

/// Whether conntrack refused as many packets as the failed attempts sent, with what they
/// sent again: fewer, and something else dropped these; more, and others were refused too.
fn are_ours(case: &Case<'_>, counters: Conntrack) -> bool {
    let hooked: BTreeSet<u16> = case
        .evidence
        .rows
        .iter()
        .filter(|r| is_hook(r))
        .map(|r| r.node_port)
        .collect();
    let ports = case
        .evidence
        .ports
        .iter()
        .filter(|(port, _)| hooked.contains(port));
    let again = sum(ports.map(|(_, counters)| counters.get(Cell::retransmit(Retransmit::Syn))));
    let count = |fits: fn(&&Row) -> bool| {
        let rows = case.evidence.rows.iter();
        sum(rows.filter(|r| is_hook(r)).filter(fits).map(|r| r.count))
    };
    let own = count(|_| true);
    // The last one of those came through.
    let late = count(|r| r.failure == Failure::Late);
    let least = own.saturating_add(again.saturating_sub(late));
    let refused = counters.drop.max(counters.insert_failed);
    (least..=own.saturating_add(again)).contains(&refused)
}

/// A SYN dropped by netfilter's core: by a legacy rule or conntrack.
fn is_hook(row: &Row) -> bool {
    row.seen & seen::DROPPED_SYN != 0 && Cause::of(row) == Cause::Hook
}

/// C1. A full table drops before NAT chooses a backend.
fn full(case: &Case<'_>, counters: Conntrack) -> Option<Opinion> {
    let Conntrack {
        count,
        peak,
        max,
        drop,
        ..
    } = counters;
    let most = peak.max(count);
    // Drops for want of a tuple count as both.
    let drops = drop.saturating_sub(counters.insert_failed);
    let is_full = max > 0 && u128::from(most) * 20 >= u128::from(max) * 19;
    let was_full = counters.early_drop > 0 && drops >= case.row.count;
    if drop == 0 || !(is_full || was_full) {
        return None;
    }
    let opinion = Opinion::certain(
        Verdict::ConntrackFull,
        format!(
            "conntrack held up to {most} of at most {max} entries, holds {count} now, and refused \
             {drop} packets."
        ),
        "No rule dropped these SYNs: conntrack's count of refusals rose with them, before any \
         backend was chosen.",
        format!(
            "Raise the limit (`sysctl -w net.netfilter.nf_conntrack_max={}`, kube-proxy: \
             `--conntrack-max-per-core`), then see who fills the table: `conntrack -L -p tcp`.",
            max.saturating_mul(2)
        ),
    );
    Some(opinion.certain_if(is_full))
}

/// C2 and C3: the entry could not be inserted after NAT.
fn no_tuple(case: &Case<'_>, counters: Conntrack) -> Option<Opinion> {
    let rows = case.count(is_hook).max(case.row.count);
    let Conntrack {
        insert_failed,
        drop,
        ..
    } = counters;
    if insert_failed == 0 || insert_failed.saturating_mul(2) < rows {
        return None;
    }
    let timed_out = case.count(|r| is_hook(r) && r.failure == Failure::TimedOut);
    let late = case.count(|r| is_hook(r) && r.failure == Failure::Late);
    let fact = format!(
        "conntrack could not insert the entry after NAT: insert_failed {insert_failed}, drop \
         {drop}."
    );
    let opinion = if timed_out == 0 && late > 0 {
        clash(fact)
    } else {
        exhausted(case, fact)
    };
    Some(opinion.at(case).certain_if(insert_failed.min(drop) >= rows))
}

fn clash(fact: String) -> Opinion {
    Opinion::certain(
        Verdict::ConntrackClash,
        fact,
        "Source ports are left: the same connections came through with the SYN sent again.",
        "Let masquerading choose ports at random (`iptables-save | grep MASQUERADE` has to show \
         `--random-fully`), or set externalTrafficPolicy: Local, which needs no masquerading.",
    )
}

fn exhausted(case: &Case<'_>, fact: String) -> Opinion {
    let target = case.target();
    let count = match case.address() {
        Some(address) => format!("`conntrack -L -p tcp -r {}`", address.ip()),
        None => "`conntrack -L -p tcp`".to_owned(),
    };
    Opinion::certain(
        Verdict::SnatExhausted,
        fact,
        "No rule and no full table dropped these SYNs: sending them again did not help either.",
        format!(
            "Count the connections to {target} with {count}; spread them over more pods, widen \
             the range of MASQUERADE's `--to-ports`, or set externalTrafficPolicy: Local, which \
             needs no masquerading."
        ),
    )
}

/// C4: a segment that conntrack takes for invalid is not translated back.
fn invalid(case: &Case<'_>, invalid: u64) -> Option<Opinion> {
    let dropped = case.seen(seen::DROPPED_SERVER)
        && case.cause().is_some_and(Cause::is_netfilter)
        && case.failure() != Failure::Reset;
    let reset = case.seen(seen::RESET_SERVER);
    if invalid == 0 || !(reset || dropped) {
        return None;
    }
    let done = if reset {
        "the node's own stack answered a segment of the backend with RST"
    } else {
        "a rule dropped a segment of the backend"
    };
    let opinion = Opinion::certain(
        Verdict::ConntrackInvalid,
        format!("conntrack took {invalid} segments on this node for invalid, and {done}."),
        "The server did reply: its segment was not translated back, so the client never saw it.",
        "Set `sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1` on this node (kube-proxy: \
         `--conntrack-tcp-be-liberal`).",
    );
    Some(opinion.at(case).certain_if(reset))
}

/// Failed attempts that conntrack's counters could not be asked about.
pub(super) fn certainty_of_rule(case: &Case<'_>) -> Certainty {
    let hooked = matches!(case.syn_cause(), Some(Cause::Hook | Cause::Unnamed));
    let refused = case
        .evidence
        .conntrack
        .map(|c| sum([c.drop, c.insert_failed].into_iter()));
    if hooked && refused != Some(0) {
        Certainty::Likely
    } else {
        Certainty::Certain
    }
}
