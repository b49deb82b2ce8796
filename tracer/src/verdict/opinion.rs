//! What one kind of failure comes from, by the first family of failures that
//! knows it.

use std::net::SocketAddr;

use tracer_common::failure::Reply;

use super::{
    Certainty, Verdict, backend, case::Case, claim, conntrack, flood, packets, path, pods, process,
    queues, service, stale,
};

/// A cause, with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Opinion {
    pub verdict: Verdict,
    pub certainty: Certainty,
    /// Where NAT sent them, when that is part of the problem.
    pub backend: Option<SocketAddr>,
    /// The fact that decides.
    pub fact: String,
    /// What it excludes, or what else fits.
    pub excludes: String,
    /// What to do next.
    pub next: String,
}

impl Opinion {
    /// A fact decides that nothing else brings about.
    pub(super) fn certain(
        verdict: Verdict,
        fact: impl Into<String>,
        excludes: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            verdict,
            certainty: Certainty::Certain,
            backend: None,
            fact: fact.into(),
            excludes: excludes.into(),
            next: next.into(),
        }
    }

    /// Certain only if that holds, else likely at most.
    pub(super) fn certain_if(self, holds: bool) -> Self {
        let most = if holds {
            Certainty::Certain
        } else {
            Certainty::Likely
        };
        Self {
            certainty: self.certainty.max(most),
            ..self
        }
    }

    /// Likely at most, since connections came about that it says could not.
    fn doubted(self, worked: u64) -> Self {
        let doubt = format!(
            "In the midst of these failures {worked} connections of the same kind were \
             established, which speaks against it."
        );
        Self {
            excludes: format!("{} {doubt}", self.excludes),
            ..self.certain_if(false)
        }
    }

    /// Likely at most where connections came about of which nobody knows whether they
    /// are what it says could not be.
    fn unless_untold(self, case: &Case<'_>) -> Self {
        match claim::untold(self.verdict, case) {
            0 => self,
            untold => Self {
                excludes: format!(
                    "{} Whose {untold} other connections of this window were is not known: some \
                     may speak against it.",
                    self.excludes
                ),
                ..self.certain_if(false)
            },
        }
    }

    /// The row's backend is part of the problem.
    pub(super) fn at(self, case: &Case<'_>) -> Self {
        Self {
            backend: case.address(),
            ..self
        }
    }
}

/// A family of failures: its opinion of one kind of failure, if it is its own.
type Family = fn(&Case<'_>) -> Option<Opinion>;

/// The order in which facts decide: what this kernel noted of the flow itself
/// first, then answers by who gave them, then counters of its namespaces.
const FAMILIES: [Family; 11] = [
    packets::opinion,
    flood::opinion,
    stale::opinion,
    conntrack::refused,
    path::noted,
    service::opinion,
    // After what a rule or the node did, before what the address looks like today:
    // the pod that was there may be gone, or another.
    pods::opinion,
    backend::opinion,
    queues::opinion,
    process::opinion,
    path::counted,
];

/// What a kind of failure comes from; `None`: nothing is known that explains it. The
/// first opinion speaks whose claim nothing refutes that worked meanwhile; where all are
/// refuted, the first one, in doubt.
pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    let mut refuted = None;
    for told in FAMILIES.iter().filter_map(|family| family(case)) {
        match claim::against(told.verdict, case) {
            0 => return Some(told.unless_untold(case)),
            worked => refuted.get_or_insert(told.doubted(worked)),
        };
    }
    refuted.or_else(|| unexplained(case))
}

/// Failed attempts of which it is known how far they came, but not why no
/// further.
fn unexplained(case: &Case<'_>) -> Option<Opinion> {
    if !case.failure().is_attempt() {
        return None;
    }
    let told = if case.is_torn_down() {
        torn_down(case)
    } else if case.cause().is_some() {
        dropped(case)
    } else if case.is_beyond() {
        beyond(case)
    } else if case.address().is_some() {
        not_followed(case)
    } else {
        return None;
    };
    Some(Opinion {
        certainty: Certainty::Unknown,
        ..told.at(case)
    })
}

fn torn_down(case: &Case<'_>) -> Opinion {
    let by = match case.row.reply {
        Reply::NodeRst => "this node",
        _ => "the server's side",
    };
    Opinion::certain(
        Verdict::Unexplained,
        format!(
            "It was answered with SYN-ACK, and {by} sent a RST before an ACK of the client came \
             by: somebody listened, and nobody refused it."
        ),
        "A listener that closes just then, a proxy or firewall that answers in its name, or an \
         ACK that goes another way would look so.",
        format!(
            "See which host sends the RST: `tcpdump -eni any 'port {} and \
             tcp[tcpflags] & (tcp-syn|tcp-rst) != 0'` here and on the pod's node; then read the \
             server's log of that moment.",
            case.port()
        ),
    )
}

fn dropped(case: &Case<'_>) -> Opinion {
    Opinion::certain(
        Verdict::Unexplained,
        format!("This kernel dropped a segment: {}.", case.noted()),
        "None of the causes that are known here drops so.",
        format!(
            "Run `nstat -az` and `ip -s link` on this node twice, and see which counter of drops \
             rises while port {} fails.",
            case.port()
        ),
    )
}

fn beyond(case: &Case<'_>) -> Opinion {
    let (target, show) = (case.target(), case.show_pod());
    Opinion::certain(
        Verdict::Unexplained,
        format!("Sent on to {target} beyond this node; nothing came back."),
        "No drop and no refusal was noted on this node.",
        format!("Look on that node: {show} names it; run `tracer explain` there."),
    )
}

fn not_followed(case: &Case<'_>) -> Opinion {
    let (target, show) = (case.target(), case.show_pod());
    let port = case.address().map_or(0, |a| a.port());
    Opinion::certain(
        Verdict::Unexplained,
        format!("Sent on to {target}; nothing came back, and no drop was noted."),
        "The backend's queues, counters, route and neighbour show nothing, as far as they could \
         be read.",
        format!(
            "Find the pod with {show} and see whether the SYN gets there: `tcpdump -ni any tcp port {port}` in its network \
             namespace."
        ),
    )
}
