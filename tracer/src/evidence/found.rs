//! What was found of failures when they were judged, within seconds of their end. It may
//! be gone by the time somebody asks.

use std::net::SocketAddr;

use super::rules::Stop;

/// Most facts that a row has.
pub const FACTS: usize = 4;

/// A fact that the judgement of failures rested on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// A rule that took the SYNs, with its counter as it was last read.
    Rule {
        /// The rule.
        stop: Stop,
        /// It was certain that this one did.
        sure: bool,
    },
    /// The next hop of a backend did not answer.
    Neighbour {
        /// The backend that they were sent to.
        backend: SocketAddr,
        /// The state of the neighbour entry, as `ip neigh` names it.
        state: String,
    },
}

/// A fact, and of how many failures of a row it was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Found {
    /// What was found.
    pub fact: Fact,
    /// Of so many of the row's failures.
    pub count: u64,
    /// When it was found last, nanoseconds of the monotonic clock.
    pub last: u64,
}

impl Fact {
    /// Whether another one says the same, but for counters.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rule { stop: one, .. }, Self::Rule { stop: other, .. }) => {
                one.action == other.action && one.rule.is_same(&other.rule)
            }
            (one, other) => one == other,
        }
    }

    /// Takes over what a later one knows better.
    pub fn renew(&mut self, later: Self) {
        let was_sure = matches!(self, Self::Rule { sure: true, .. });
        *self = match later {
            Self::Rule { stop, sure } => Self::Rule {
                stop,
                sure: sure || was_sure,
            },
            other => other,
        };
    }
}
