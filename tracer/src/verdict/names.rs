//! The verdicts and their names, as in JSON and in metric labels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares the verdicts with their names.
macro_rules! verdicts {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All verdicts, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in JSON and in metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The position in [`Verdict::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

verdicts! {
    /// The closed list of causes.
    Verdict {
        /// The Service has no endpoints: kube-proxy's rule rejects.
        NoEndpoints = "no_endpoints",
        /// A netfilter rule rejects, with a RST or as prohibited.
        RejectedByRule = "rejected_by_rule",
        /// kube-proxy's own socket holds the port and never accepts.
        HeldByKubeProxy = "held_by_kube_proxy",
        /// This node has no rule for the port.
        NoServiceRule = "no_service_rule",
        /// Dropped before DNAT: externalTrafficPolicy Local without a local endpoint.
        NoLocalEndpoint = "no_local_endpoint",
        /// Nothing listens where NAT sends to.
        NothingListens = "nothing_listens",
        /// No neighbour or no route leads to the backend.
        BackendUnreachable = "backend_unreachable",
        /// A blackhole route swallows packets to the backend.
        RouteBlackhole = "route_blackhole",
        /// The listener's accept queue is full.
        AcceptQueueFull = "accept_queue_full",
        /// The listener's SYN queue is full.
        SynQueueFull = "syn_queue_full",
        /// SYNs from many sources that never meant to connect.
        SynFlood = "syn_flood",
        /// The process accepts or reads nothing.
        ServerStalled = "server_stalled",
        /// The process closes connections at once.
        ClosedAtOnce = "closed_at_once",
        /// The conntrack table is full.
        ConntrackFull = "conntrack_full",
        /// Two connections wanted the same NAT tuple at once.
        ConntrackClash = "conntrack_clash",
        /// No source port is free for masquerading.
        SnatExhausted = "snat_exhausted",
        /// conntrack takes segments for invalid, NAT is not undone.
        ConntrackInvalid = "conntrack_invalid",
        /// An old conntrack entry leads to a backend that is gone.
        StaleConntrack = "stale_conntrack",
        /// The backend refuses the SYN for its timestamp.
        PawsRejected = "paws_rejected",
        /// Checksums are wrong.
        BadChecksum = "bad_checksum",
        /// Dropped by a rule after DNAT: network policy, FORWARD.
        DroppedByRule = "dropped_by_rule",
        /// Reverse path filter.
        RpFilter = "rp_filter",
        /// The answer gets lost, or comes too late, on its way back.
        ReturnPath = "return_path",
        /// Large packets of the reply do not get through.
        PmtuBlackhole = "pmtu_blackhole",
        /// The backend dials its own NodePort and is not masqueraded.
        Hairpin = "hairpin",
        /// The pod was being deleted and still got connections.
        PodTerminating = "pod_terminating",
        /// The pod is deleted, and its address was still chosen or still in the
        /// neighbour table.
        PodGone = "pod_gone",
        /// This node chooses backends that the EndpointSlices have not listed for
        /// longer than a proxy takes: kube-proxy is dead or behind.
        RulesStale = "rules_stale",
        /// Nothing that was seen explains it; how far it came is known.
        Unexplained = "unexplained",
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_stand_at_their_index() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            let json = serde_json::to_value(verdict).unwrap();
            assert_eq!(json, verdict.as_str());
            assert_eq!(verdict.index(), index);
        }
        assert_eq!(Verdict::ALL.last(), Some(&Verdict::Unexplained));
    }
}
