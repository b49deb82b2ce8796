//! Who held an address, and when: addresses of pods are used again within seconds.
//! Times are nanoseconds of the monotonic clock.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    empty::{Alone, Empty},
    endpoints::Listed,
    table::Pod,
};

/// How long after its end a tenancy is remembered: as far back as can be asked for.
const KEPT: u64 = nanos(Duration::from_secs(15 * 60));
/// Tenancies of one address that are remembered, at most.
const EACH: usize = 8;
/// Ended tenancies that are remembered, at most; the oldest go first.
const ENDED: usize = 8192;
/// A pod that leaves one EndpointSlice for another is absent for so long, at most.
const MOVE: u64 = nanos(Duration::from_secs(2));

const fn nanos(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000
}

/// The time in which one pod held an address, as EndpointSlices tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// The pod.
    pub pod: Arc<Pod>,
    /// When it was first listed; 0: it was there already when the watch began.
    pub from: u64,
    /// Since when it has not been ready; `None`: it is, or it never was.
    pub unready_since: Option<u64>,
    /// Whether it was ever seen ready.
    pub was_ready: bool,
    /// Since when it is being deleted.
    pub terminating_since: Option<u64>,
    /// When it was not listed any more.
    pub until: Option<u64>,
}

impl Tenancy {
    /// When the pod was gone for certain: only a pod that was being deleted leaves
    /// the EndpointSlices for good.
    #[must_use]
    pub fn deleted_at(&self) -> Option<u64> {
        self.until.filter(|_| self.terminating_since.is_some())
    }

    /// When proxies were told to choose it no more.
    #[must_use]
    pub fn left_at(&self) -> Option<u64> {
        let times = [self.unready_since, self.terminating_since, self.until];
        times.into_iter().flatten().min()
    }
}

/// What is listed at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The pod.
    pub pod: Pod,
    /// It is ready in some EndpointSlice.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
}

/// When the events came that changed an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// The first that said that the pod is being deleted.
    pub terminating: Option<u64>,
}

/// The tenancies of all addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// Each oldest first; only the last may have no end.
    by_address: HashMap<IpAddr, Vec<Tenancy>>,
    /// When node ports had no ready endpoint.
    pub empty: Empty,
    /// When endpoints that were being deleted served alone on their node.
    pub alone: Alone,
    /// Since when all that is listed is known; `None`: it is not.
    pub known_since: Option<u64>,
}

impl Tenants {
    /// The last pod that came to hold an address by `at`, whether it had gone by
    /// then or not.
    #[must_use]
    pub fn last_at(&self, address: IpAddr, at: u64) -> Option<&Tenancy> {
        let all = self.by_address.get(&address)?;
        all.iter().rev().find(|tenancy| tenancy.from <= at)
    }

    /// Whether anybody has held the address, as far as remembered.
    #[must_use]
    pub fn knows(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The tenancies of an address, oldest first.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> &[Tenancy] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Takes what is listed now; `touched` says when what changed came.
    pub fn update(
        &mut self,
        present: &HashMap<IpAddr, Present>,
        touched: &HashMap<IpAddr, Touch>,
        now: u64,
    ) {
        let first = self.known_since.is_none();
        self.known_since.get_or_insert(now);
        for (address, tenancies) in &mut self.by_address {
            if !present.contains_key(address) {
                let touch = touched.get(address);
                end(tenancies, touch, touch.map_or(now, |t| t.last));
            }
        }
        for (address, is) in present {
            let touch = touched.get(address).filter(|_| !first);
            let tenancies = self.by_address.entry(*address).or_default();
            hold(tenancies, is, touch, now);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: u64) {
        let mut ends: Vec<u64> = Vec::new();
        for tenancies in self.by_address.values_mut() {
            let old = |t: &Tenancy| {
                t.until
                    .is_some_and(|until| now.saturating_sub(until) > KEPT)
            };
            tenancies.retain(|t| !old(t));
            let more = tenancies.len().saturating_sub(EACH);
            tenancies.drain(..more);
            ends.extend(tenancies.iter().filter_map(|t| t.until));
        }
        if ends.len() > ENDED {
            let place = ends.len() - ENDED;
            let (_, oldest, _) = ends.select_nth_unstable(place);
            let oldest = *oldest;
            for tenancies in self.by_address.values_mut() {
                tenancies.retain(|t| t.until.is_none_or(|until| until > oldest));
            }
        }
        self.by_address.retain(|_, tenancies| !tenancies.is_empty());
        self.by_address.shrink_to_fit();
    }

    /// How many are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_address.values().map(Vec::len).sum()
    }

    /// Adds one, as a test needs it.
    #[cfg(test)]
    pub fn add(&mut self, address: IpAddr, tenancy: Tenancy) {
        self.by_address.entry(address).or_default().push(tenancy);
        self.known_since.get_or_insert(0);
    }
}

/// The last of them is not listed any more.
fn end(tenancies: &mut [Tenancy], touch: Option<&Touch>, at: u64) {
    if let Some(last) = tenancies.last_mut().filter(|last| last.until.is_none()) {
        last.terminating_since = last.terminating_since.or(touch.and_then(|t| t.terminating));
        last.until = Some(at);
    }
}

/// This pod is listed.
fn hold(tenancies: &mut Vec<Tenancy>, is: &Present, touch: Option<&Touch>, now: u64) {
    let came = touch.map_or(0, |t| t.first);
    let at = touch.map_or(now, |t| t.last);
    let same = |last: &&mut Tenancy| {
        let moved =
            |until: u64| last.terminating_since.is_none() && at.saturating_sub(until) <= MOVE;
        *last.pod == is.pod
            && last.until.is_none_or(moved)
            && (last.terminating_since.is_none() || is.terminating)
    };
    if let Some(last) = tenancies.last_mut().filter(same) {
        last.until = None;
        last.unready_since = match last.unready_since {
            _ if is.ready => None,
            None if last.was_ready => Some(at),
            since => since,
        };
        last.was_ready |= is.ready;
        if is.terminating {
            let since = touch.and_then(|t| t.terminating).unwrap_or(at);
            last.terminating_since.get_or_insert(since);
        }
        return;
    }
    let ended = tenancies.last().is_some();
    end(tenancies, touch, if touch.is_some() { came } else { now });
    let came = if ended && touch.is_none() { now } else { came };
    tenancies.push(Tenancy {
        pod: Arc::new(is.pod.clone()),
        from: came,
        unready_since: None,
        was_ready: is.ready,
        terminating_since: is
            .terminating
            .then(|| touch.and_then(|t| t.terminating).unwrap_or(at)),
        until: None,
    });
}

/// The touches of events: `old` and `new` are what they listed before and after.
pub fn touch<'a>(
    touched: &mut HashMap<IpAddr, Touch>,
    old: impl Iterator<Item = &'a Listed>,
    new: impl Iterator<Item = &'a Listed>,
    at: u64,
) {
    let (old, new): (HashSet<_>, HashSet<_>) = (old.collect(), new.collect());
    for listed in old.symmetric_difference(&new) {
        let touch = touched.entry(listed.address).or_insert(Touch {
            first: at,
            last: at,
            terminating: None,
        });
        touch.last = at;
        if listed.terminating && new.contains(listed) {
            touch.terminating.get_or_insert(at);
        }
    }
}

#[cfg(test)]
mod tests;
