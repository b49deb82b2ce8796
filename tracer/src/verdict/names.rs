//! The verdicts' names, as in JSON and in metric labels.

use super::Verdict;

/// Names all verdicts, in the order of their declaration.
macro_rules! names {
    ($($variant:ident = $name:literal,)+) => {
        impl Verdict {
            /// All verdicts, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in JSON and in metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The position in [`Verdict::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

names! {
    NoEndpoints = "no_endpoints",
    RejectedByRule = "rejected_by_rule",
    HeldByKubeProxy = "held_by_kube_proxy",
    NoServiceRule = "no_service_rule",
    NoLocalEndpoint = "no_local_endpoint",
    NothingListens = "nothing_listens",
    BackendUnreachable = "backend_unreachable",
    RouteBlackhole = "route_blackhole",
    AcceptQueueFull = "accept_queue_full",
    SynQueueFull = "syn_queue_full",
    ServerStalled = "server_stalled",
    ClosedAtOnce = "closed_at_once",
    ConntrackFull = "conntrack_full",
    ConntrackClash = "conntrack_clash",
    SnatExhausted = "snat_exhausted",
    ConntrackInvalid = "conntrack_invalid",
    StaleConntrack = "stale_conntrack",
    PawsRejected = "paws_rejected",
    BadChecksum = "bad_checksum",
    DroppedByRule = "dropped_by_rule",
    RpFilter = "rp_filter",
    ReturnPath = "return_path",
    PmtuBlackhole = "pmtu_blackhole",
    Hairpin = "hairpin",
    Unexplained = "unexplained",
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
