//! How the watches fare: for the metrics, and a log line per change.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Resource {
    Services,
    Slices,
}

impl Resource {
    pub(super) const COUNT: usize = 2;

    /// Its name in URLs and roles.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Slices => "endpointslices",
        }
    }

    /// Objects of one page of a list, all of which are in memory at once. A slice
    /// has up to 100 endpoints, and is some 40 kB.
    pub(super) const fn page(self) -> u32 {
        match self {
            Self::Services => 100,
            Self::Slices => 20,
        }
    }

    /// Its group, as a role names it.
    const fn group(self) -> &'static str {
        match self {
            Self::Services => "",
            Self::Slices => "discovery.k8s.io",
        }
    }
}

/// Declares a closed list of label values.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The label value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// Why the API did not give what was asked for.
    Trouble {
        /// No connection.
        Unreachable = "unreachable",
        /// No answer in time.
        Timeout = "timeout",
        /// 401 or 403.
        Denied = "denied",
        /// 404: the API does not have the resource.
        Absent = "absent",
        /// 410: what was known is too old to go on from.
        Gone = "gone",
        /// 429.
        Throttled = "throttled",
        /// 5xx.
        Server = "server",
        /// An answer beyond the bounds.
        TooLarge = "too_large",
        /// An answer that is none.
        Invalid = "invalid",
        /// Anything else.
        Other = "other",
    }
}

words! {
    /// What was left out of the names.
    Left {
        /// Services: there are too many.
        Services = "services",
        /// Endpoints: there are too many.
        Endpoints = "endpoints",
        /// Objects, or parts of them, that cannot be right.
        Unusable = "unusable",
    }
}

/// Where one watch stands.
#[derive(Debug, Default)]
struct State {
    /// `None`: it has not got anything yet, nor failed.
    synced: Option<bool>,
    /// The resource was listed once, so that a watch that comes back is enough.
    listed: bool,
    /// The troubles that were logged since it was last up to date.
    told: Vec<Trouble>,
    /// When what was known was last too old to go on from.
    outdated: Option<Instant>,
    /// It has been too often, which was logged.
    outdated_told: bool,
}

/// Time without such an event after which the next is an ordinary one: API servers forget after
/// five minutes.
const CALM: Duration = Duration::from_secs(120);

/// How the watches fare; shared with those who show it.
#[derive(Debug, Default)]
pub struct Health {
    states: Mutex<[State; Resource::COUNT]>,
    errors: [AtomicU64; Trouble::ALL.len()],
    left: [AtomicU64; Left::ALL.len()],
}

impl Health {
    /// Whether all names are up to date, as far as the API tells.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.states().iter().all(|state| state.synced == Some(true))
    }

    /// Failed requests since start, by reason.
    pub fn errors(&self) -> impl Iterator<Item = (Trouble, u64)> {
        let counts = self.errors.iter().map(|count| count.load(Relaxed));
        Trouble::ALL.iter().copied().zip(counts)
    }

    /// What was left out since start; an object that changes counts again.
    pub fn left_out(&self) -> impl Iterator<Item = (Left, u64)> {
        let counts = self.left.iter().map(|count| count.load(Relaxed));
        Left::ALL.iter().copied().zip(counts)
    }

    pub(super) fn leave_out(&self, what: Left) {
        if let Some(count) = self.left.get(what as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The whole list is here.
    pub(super) fn listed(&self, what: Resource) {
        if let Some(state) = self.states().get_mut(what as usize) {
            state.listed = true;
            synced(state, what);
        }
    }

    /// A watch is open: what is known already is up to date again.
    pub(super) fn watching(&self, what: Resource) {
        if let Some(state) = self.states().get_mut(what as usize)
            && state.listed
        {
            synced(state, what);
        }
    }

    /// What is known is too old for a watch. The list is read anew, and the names stay meanwhile;
    /// that is usual now and then, and told when it comes again and again.
    pub(super) fn outdated(&self, what: Resource, cause: &str) {
        self.count(Trouble::Gone);
        let resource = what.plural();
        if let Some(state) = self.states().get_mut(what as usize) {
            let last = state.outdated.replace(Instant::now());
            if last.is_none_or(|last| last.elapsed() > CALM) {
                state.outdated_told = false;
                tracing::debug!(resource, cause, "listing anew");
            } else if !state.outdated_told {
                state.outdated_told = true;
                tracing::warn!(
                    resource,
                    cause,
                    "names from Kubernetes are listed anew again and again: no watch of them lasts"
                );
            }
        }
    }

    fn count(&self, trouble: Trouble) {
        if let Some(count) = self.errors.get(trouble as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// It did not work.
    pub(super) fn failed(&self, what: Resource, trouble: Trouble, cause: &str) {
        self.count(trouble);
        if let Some(state) = self.states().get_mut(what as usize) {
            state.synced = Some(false);
            if !state.told.contains(&trouble) {
                state.told.push(trouble);
                tell(what, trouble, cause);
            }
        }
    }

    /// What is known cannot be gone on from: only a new list will do.
    pub(super) fn start_over(&self, what: Resource) {
        if let Some(state) = self.states().get_mut(what as usize) {
            state.listed = false;
        }
    }

    fn states(&self) -> MutexGuard<'_, [State; Resource::COUNT]> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn synced(state: &mut State, what: Resource) {
    state.told.clear();
    if state.synced.replace(true) != Some(true) {
        tracing::info!(
            resource = what.plural(),
            "names from Kubernetes are up to date"
        );
    }
}

fn tell(what: Resource, trouble: Trouble, cause: &str) {
    let (resource, reason) = (what.plural(), trouble.as_str());
    let remedy = (trouble == Trouble::Denied).then(|| {
        let group = what.group();
        format!(
            "allow list and watch of {resource} in API group \"{group}\" to the service account"
        )
    });
    tracing::warn!(
        resource,
        reason,
        cause,
        remedy,
        "names from Kubernetes stay as they were; counts go on"
    );
}

#[cfg(test)]
mod tests;
