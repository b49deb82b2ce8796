//! When SYNs were sent, beside what became of the pod that they were sent to.

use std::time::Duration;

use super::{case::Case, opinion::Opinion};
use crate::services::Tenancy;

/// When the SYNs were sent, and what happened to the backend's pod before.
pub(super) struct Times<'a> {
    /// The first and the last SYN.
    pub(super) first: u64,
    pub(super) last: u64,
    /// They are known, not only that they lie within the window.
    pub(super) known: bool,
    /// Who came last to hold the address by the last SYN.
    pub(super) holder: Option<&'a Tenancy>,
    /// When the holder had gone, and whether that is a fact.
    pub(super) gone: Option<(u64, bool)>,
}

impl<'a> Times<'a> {
    pub(super) fn of(case: &Case<'a>) -> Self {
        let (first, last) = case.span();
        let holder = case.tenant();
        Self {
            first,
            last,
            known: case.row.span.is_some(),
            holder,
            gone: gone_at(case, holder),
        }
    }

    /// Certain if it had happened before the first SYN was sent.
    pub(super) fn certain_since(&self, opinion: Opinion, at: u64, holds: bool) -> Opinion {
        opinion.certain_if(holds && self.known && at <= self.first)
    }

    /// `12 s before the first of these SYNs`, or how else they lie.
    pub(super) fn before(&self, at: u64) -> String {
        if !self.known {
            return "before the end of this window".to_owned();
        }
        match self.first.checked_sub(at) {
            Some(since) => format!("{} before the first of these SYNs", seconds(since)),
            None => format!(
                "{} after the first of these SYNs and {} the last",
                seconds(at - self.first),
                match self.last.checked_sub(at) {
                    Some(since) => format!("{} before", seconds(since)),
                    None => "just after".to_owned(),
                }
            ),
        }
    }
}

/// A time span for texts.
pub(super) fn seconds(nanos: u64) -> String {
    let seconds = Duration::from_nanos(nanos).as_secs_f64();
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}

/// The EndpointSlices do not list it any more, or its namespace is not on this node
/// any more. A pod that is there has left a Service at most.
fn gone_at(case: &Case<'_>, holder: Option<&Tenancy>) -> Option<(u64, bool)> {
    let since = holder.map_or(0, |h| h.from);
    let namespace = case
        .backend
        .and_then(|b| b.gone_at)
        .filter(|at| *at > since);
    let there = case.pod().is_some() && !case.is_passed_on();
    let unlisted = holder.filter(|_| !there).and_then(|h| h.until);
    let deleted = holder.and_then(Tenancy::deleted_at).filter(|_| !there);
    let certain = deleted.into_iter().chain(namespace).min();
    match (certain, unlisted) {
        (Some(at), _) => Some((at, true)),
        (None, Some(at)) => Some((at, false)),
        (None, None) => None,
    }
}
