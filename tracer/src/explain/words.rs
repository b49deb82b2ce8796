//! What the closed lists are called in sentences.

use crate::verdict::{Certainty, Verdict};

/// A verdict for someone who knows Kubernetes, but not the TCP stack.
pub(super) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NoEndpoints => "the Service has no endpoints",
        Verdict::RejectedByRule => "a firewall rule on this node rejects",
        Verdict::HeldByKubeProxy => "a process on this node holds the port and never serves it",
        Verdict::NoServiceRule => "this node has no rule for the port",
        Verdict::NoLocalEndpoint => "dropped: the Service has no endpoint on this node",
        Verdict::NothingListens => "nothing listens on the target port",
        Verdict::BackendUnreachable => "the node cannot reach the backend",
        Verdict::RouteBlackhole => "a blackhole route swallows packets to the backend",
        Verdict::AcceptQueueFull => "the server accepts too slowly: its accept queue is full",
        Verdict::SynQueueFull => "the server's queue of unfinished handshakes is full",
        Verdict::SynFlood => "a flood of SYNs from sources that never meant to connect",
        Verdict::ServerStalled => "the server accepts or reads nothing",
        Verdict::ClosedAtOnce => "the server closes connections at once",
        Verdict::ConntrackFull => "the node's connection table (conntrack) is full",
        Verdict::ConntrackClash => "two connections got the same NAT address at once",
        Verdict::SnatExhausted => "no source port is left for NAT",
        Verdict::ConntrackInvalid => {
            "conntrack takes packets for invalid and does not translate them back"
        }
        Verdict::StaleConntrack => "an old conntrack entry leads to a backend that is gone",
        Verdict::PawsRejected => "the server refuses the SYN for its old timestamp",
        Verdict::BadChecksum => "packets have wrong checksums",
        Verdict::DroppedByRule => "a firewall rule or network policy drops packets",
        Verdict::RpFilter => "the reverse path filter (rp_filter) drops packets",
        Verdict::ReturnPath => "the answer gets lost, or comes too late, on its way back",
        Verdict::PmtuBlackhole => "large packets of the reply do not get through (MTU)",
        Verdict::Hairpin => "a dial comes back to where it was made (hairpin)",
        Verdict::PodTerminating => "the pod was being deleted and still got connections",
        Verdict::PodGone => "the pod is deleted, and connections were still sent to it",
        Verdict::RulesStale => {
            "this node's rules are stale: kube-proxy is dead or behind, pods that left are chosen"
        }
        Verdict::Unexplained => "nothing that was seen explains it",
    }
}

/// How sure a verdict is.
pub(super) const fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => "certain",
        Certainty::Likely => "likely",
        Certainty::Unknown => "not decided",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_verdicts_sound_the_same() {
        let words: std::collections::BTreeSet<&str> =
            Verdict::ALL.iter().map(|&v| verdict(v)).collect();
        assert_eq!(words.len(), Verdict::COUNT);
    }
}
