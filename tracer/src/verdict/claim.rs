//! What a verdict claims beyond the failures that it was made of, so that it can be
//! held against what worked meanwhile.

use super::{Verdict, case::Case, drops::Cause};
use crate::evidence::Served;

/// Which other attempts fail as well, for as long as a verdict is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// None: the kernel noted the cause of each failure by itself, or the cause hits
    /// some attempts and spares others.
    Attempt,
    /// Those of the same clients that come in by the same interface, to the same backend.
    Client,
    /// The same, where no backend was chosen those to any; none where the kernel noted the
    /// cause of each.
    Source,
    /// Those to the same backend.
    Backend,
    /// Those to the same address of the node.
    Address,
    /// Those to the port by the same address family.
    Family,
}

/// What each verdict claims.
pub(super) const fn extent(verdict: Verdict) -> Extent {
    match verdict {
        // kube-proxy makes these rules for a Service port and a family.
        Verdict::NoEndpoints | Verdict::NoLocalEndpoint => Extent::Family,
        // kube-proxy may serve some addresses only (--nodeport-addresses).
        Verdict::NoServiceRule => Extent::Address,
        Verdict::RouteBlackhole | Verdict::BackendUnreachable | Verdict::PodGone => Extent::Backend,
        Verdict::ReturnPath => Extent::Client,
        Verdict::RpFilter => Extent::Source,
        Verdict::RejectedByRule
        | Verdict::HeldByKubeProxy
        | Verdict::NothingListens
        | Verdict::AcceptQueueFull
        | Verdict::SynQueueFull
        | Verdict::SynFlood
        | Verdict::ServerStalled
        | Verdict::ClosedAtOnce
        | Verdict::ConntrackFull
        | Verdict::ConntrackClash
        | Verdict::SnatExhausted
        | Verdict::ConntrackInvalid
        | Verdict::StaleConntrack
        | Verdict::PawsRejected
        | Verdict::BadChecksum
        | Verdict::DroppedByRule
        | Verdict::PmtuBlackhole
        | Verdict::Hairpin
        | Verdict::PodTerminating
        | Verdict::RulesStale
        | Verdict::Unexplained => Extent::Attempt,
    }
}

/// Connections that were established in the midst of a row's failures although the
/// verdict claims that they could not be.
pub(super) fn against(verdict: Verdict, case: &Case<'_>) -> u64 {
    let extent = extent(verdict);
    let served = case.row.amid.iter();
    let within = served.filter(|served| lies_within(served, extent, case));
    within.fold(0, |sum, served| sum.saturating_add(served.count))
}

/// Connections of the window that may speak against the verdict as well: whose they were
/// is not known.
pub(super) fn untold(verdict: Verdict, case: &Case<'_>) -> u64 {
    match extent(verdict) {
        Extent::Attempt => 0,
        _ => case.evidence.untold,
    }
}

fn lies_within(served: &Served, extent: Extent, case: &Case<'_>) -> bool {
    let same_backend = served.backend.is_some() && served.backend == case.address();
    let same_client = || {
        let from = served.client.is_some_and(|ip| case.is_from(ip));
        from && case.may_share_interface(served)
    };
    match extent {
        Extent::Attempt => false,
        Extent::Client => same_backend && same_client(),
        Extent::Source => {
            let noted = case.cause() == Some(Cause::ReversePath);
            !noted && (case.address().is_none() || same_backend) && same_client()
        }
        Extent::Backend => same_backend,
        Extent::Address => case.row.dialled.is_none_or(|ip| ip == served.dialled),
        Extent::Family => {
            let dialled = case.row.dialled;
            dialled.is_none_or(|ip| ip.is_ipv4() == served.dialled.is_ipv4())
        }
    }
}
