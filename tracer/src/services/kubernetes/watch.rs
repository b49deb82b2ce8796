//! The two watches: each goes on for ever, and comes back after any trouble.

use std::{error::Error as StdError, fmt::Debug, io, pin::pin, time::Duration};

use futures_util::StreamExt as _;
use http_body_util::LengthLimitError;
use kube::{
    Api, Client,
    core::ApiResource,
    runtime::watcher::{self, DefaultBackoff, Event, watcher},
};
use tokio::{sync::Notify, time::sleep};

use super::{
    health::{Resource, Trouble},
    objects::{self, Pick, Picked},
    paging::Endless,
    pick::Service,
    store::{Keep, Store},
    transport::Late,
};
use crate::{exit::one_line, human, services::endpoints::Slice};

/// Seconds until the API ends a watch, and it begins anew where it was. What ends
/// without a word is noticed 5 s later.
const WATCH: u32 = 240;
/// Longest time between two tries.
const LONGEST: Duration = Duration::from_secs(30);
/// Most characters of a cause.
const CAUSE: usize = 300;
/// Versions of EndpointSlices, the newest first.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Tells that names have changed.
pub(super) struct Dirty(Notify);

impl Dirty {
    pub(super) fn new() -> Self {
        Self(Notify::new())
    }

    fn set(&self) {
        self.0.notify_one();
    }

    /// Waits for the next change.
    pub(super) async fn changed(&self) {
        self.0.notified().await;
    }
}

/// Watches Services, for ever.
pub(super) async fn watch_services(client: Client, store: &Store, dirty: &Dirty) {
    let watch = Watch::new(Resource::Services, store, dirty);
    loop {
        watch
            .run::<Service>(&client, &objects::services(), false)
            .await;
    }
}

/// Watches EndpointSlices of the version that the API has, for ever.
pub(super) async fn watch_slices(client: Client, store: &Store, dirty: &Dirty) {
    let watch = Watch::new(Resource::Slices, store, dirty);
    // The newest version may be absent without anything being wrong.
    watch
        .run::<Slice>(&client, &objects::slices(VERSIONS[0]), true)
        .await;
    loop {
        for version in VERSIONS.iter().rev() {
            watch
                .run::<Slice>(&client, &objects::slices(version), false)
                .await;
        }
    }
}

struct Watch<'a> {
    what: Resource,
    store: &'a Store,
    dirty: &'a Dirty,
}

/// How a watch may go on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// By itself.
    Same,
    /// With a new list: something is unknown.
    List,
    /// Not at all: the API does not have this kind of object.
    Leave,
}

impl<'a> Watch<'a> {
    fn new(what: Resource, store: &'a Store, dirty: &'a Dirty) -> Self {
        Self { what, store, dirty }
    }

    /// Watches objects of one kind until the API says that it does not have that
    /// kind, which is no failure if `quiet`.
    async fn run<T>(&self, client: &Client, kind: &ApiResource, quiet: bool)
    where
        Store: Keep<T>,
        T: Pick + Clone + Debug + Send + 'static,
    {
        let api: Api<Picked<T>> = Api::all_with(client.clone(), kind);
        let config = watcher::Config::default()
            .page_size(self.what.page())
            .timeout(WATCH);
        // Its own way of waiting begins anew with each list, also if none of them
        // ever ends well.
        let mut backoff = DefaultBackoff::default();
        loop {
            let mut events = pin!(watcher(api.clone(), config.clone()));
            while let Some(event) = events.next().await {
                let failed = match event {
                    Ok(event) => {
                        self.take(event);
                        continue;
                    }
                    Err(e) => e,
                };
                let trouble = trouble(&failed);
                if trouble == Trouble::Absent && quiet {
                    return;
                }
                let health = self.store.health();
                // A watch may be too old to go on, a list never is.
                let is_list = matches!(failed, watcher::Error::InitialListFailed(_));
                if trouble == Trouble::Gone && !is_list {
                    health.outdated(self.what, &cause(&failed));
                } else {
                    health.failed(self.what, trouble, &cause(&failed));
                }
                sleep(backoff.next().unwrap_or(LONGEST)).await;
                match next(&failed, trouble) {
                    Next::Same => {}
                    Next::List => break,
                    Next::Leave => return sleep(LONGEST).await,
                }
            }
        }
    }

    fn take<T>(&self, event: Event<Picked<T>>)
    where
        Store: Keep<T>,
    {
        let (store, health) = (self.store, self.store.health());
        match event {
            Event::Init => {
                health.start_over(self.what);
                return store.begin();
            }
            Event::InitApply(Picked { key, is, .. }) => return store.put(true, key, is),
            Event::InitDone => {
                store.end();
                health.listed(self.what);
            }
            Event::Apply(Picked { key, is, .. }) => store.put(false, key, is),
            Event::Delete(Picked { key, .. }) => store.remove(key),
        }
        self.dirty.set();
    }
}

fn next(e: &watcher::Error, trouble: Trouble) -> Next {
    match (e, trouble) {
        (_, Trouble::Absent) => Next::Leave,
        // An event could not be read, and may have been any.
        (_, Trouble::Invalid | Trouble::Gone) => Next::List,
        _ => Next::Same,
    }
}

/// Why it did not work.
fn trouble(e: &watcher::Error) -> Trouble {
    match e {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => trouble_of_client(e),
        watcher::Error::WatchError(status) => trouble_of_status(status.code),
        watcher::Error::NoResourceVersion => Trouble::Invalid,
    }
}

fn trouble_of_client(e: &kube::Error) -> Trouble {
    match e {
        kube::Error::Api(status) => trouble_of_status(status.code),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Trouble::Invalid,
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
            chain(e)
                .find_map(trouble_of_cause)
                .unwrap_or(Trouble::Unreachable)
        }
        _ => Trouble::Other,
    }
}

/// RFC 9110, section 15, as the API uses it.
fn trouble_of_status(code: u16) -> Trouble {
    match code {
        401 | 403 => Trouble::Denied,
        404 => Trouble::Absent,
        408 | 504 => Trouble::Timeout,
        410 => Trouble::Gone,
        429 => Trouble::Throttled,
        500..=599 => Trouble::Server,
        _ => Trouble::Other,
    }
}

fn trouble_of_cause(e: &(dyn StdError + 'static)) -> Option<Trouble> {
    if e.is::<Late>() {
        return Some(Trouble::Timeout);
    }
    if e.is::<LengthLimitError>() || e.is::<Endless>() {
        return Some(Trouble::TooLarge);
    }
    match e.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::TimedOut => Some(Trouble::Timeout),
        io::ErrorKind::InvalidData => Some(Trouble::Invalid),
        _ => None,
    }
}

/// An error and what it comes from, also where an [`io::Error`] is but a wrapper.
fn chain<'a>(
    e: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(e), |e: &&'a (dyn StdError + 'static)| {
        let e = *e;
        let wrapped = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => e.source(),
        }
    })
}

/// The cause in one line: what the API said, or the innermost two of the chain.
fn cause(e: &watcher::Error) -> String {
    let said = match e {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.message.clone(),
        e => {
            let told: Vec<String> = chain(e).map(ToString::to_string).collect();
            let last = told.last().cloned().unwrap_or_default();
            let before = told.iter().rev().find(|text| !text.contains(&last));
            before.map_or(last.clone(), |before| format!("{before}: {last}"))
        }
    };
    let line = one_line(&human::printable(&said));
    line.chars().take(CAUSE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_says_is_told_apart() {
        for (code, expected) in [
            (401, Trouble::Denied),
            (403, Trouble::Denied),
            (404, Trouble::Absent),
            (410, Trouble::Gone),
            (429, Trouble::Throttled),
            (503, Trouble::Server),
            (504, Trouble::Timeout),
            (0, Trouble::Other),
            (418, Trouble::Other),
        ] {
            assert_eq!(trouble_of_status(code), expected, "{code}");
        }
    }

    #[test]
    fn causes_are_found_behind_wrappers() {
        let late = io::Error::other(io::Error::other(Late));
        let late = kube::Error::ReadEvents(late);
        assert_eq!(trouble_of_client(&late), Trouble::Timeout);
        let refused =
            kube::Error::Service(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        let refused = watcher::Error::InitialListFailed(refused);
        assert_eq!(trouble(&refused), Trouble::Unreachable);
        let told = cause(&refused);
        assert!(
            told.contains("connection refused") && told.lines().count() == 1,
            "{told}"
        );
    }
}
