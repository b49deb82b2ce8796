//! Names from the Kubernetes API: watches of Services and EndpointSlices, on a
//! thread of their own, so that nothing waits for the API.

mod access;
mod check;
mod health;
mod kubeconfig;
mod objects;
mod paging;
mod pick;
mod store;
mod token;
mod transport;
mod views;
mod watch;

use std::{
    future::pending,
    sync::{Arc, mpsc},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::sleep};

pub(super) use access::{Access, access};
pub use health::Health;

use super::{Shared, end};
use crate::{
    exit::Exit,
    privileges::{self, Opens, Role, Sockets},
};
use store::Store;
use token::Token;
use watch::{Dirty, watch_services, watch_slices};

/// Changes that come within this time after one that was shown are shown together: a
/// rollout changes many pods, and the table is made anew for each look at it.
const SETTLE: Duration = Duration::from_millis(100);
/// The same where making the table takes long.
const SLOWEST: Duration = Duration::from_millis(500);
/// Making the table takes this share of the time up to there, one in so many.
const SHARE: u32 = 20;

/// The thread that watches; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Kubernetes {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Kubernetes {
    /// Starts to watch. Whether the API answers is not waited for.
    ///
    /// # Errors
    /// When there can be no client, or no thread.
    pub(super) fn start(access: Access, shared: &Arc<Shared>) -> Result<Self, Exit> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::sync_channel(1);
        let shared = Arc::clone(shared);
        let thread = Builder::new()
            .name("kubernetes".into())
            .spawn(move || thread(access, &shared, stopped, &tell))
            .map_err(|e| Exit::runtime("start a thread", e))?;
        let kubernetes = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        let ended = || Err(Exit::runtime("start watching Kubernetes", "it has ended"));
        told.recv().unwrap_or_else(|_| ended())?;
        Ok(kubernetes)
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            end(thread);
        }
    }
}

fn thread(
    access: Access,
    shared: &Shared,
    stopped: oneshot::Receiver<()>,
    tell: &mpsc::SyncSender<Result<(), Exit>>,
) {
    privileges::settle(Role::Reader);
    privileges::wall(Opens::Anything, None);
    privileges::confine(Sockets::Hosts);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Names of hosts are looked up there, and tokens read.
        .max_blocking_threads(2)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return say(tell, Err(Exit::runtime("start the runtime", e))),
    };
    runtime.block_on(async {
        // There is one wherever there is a watch.
        let health = shared.health.clone().unwrap_or_default();
        let (client, token) = match access.client(&health) {
            Ok(client) => client,
            Err(exit) => return say(tell, Err(exit)),
        };
        say(tell, Ok(()));
        let (store, dirty) = (
            Store::new(&shared.watched, shared.gate, &health),
            Dirty::new(),
        );
        tokio::select! {
            () = watch_services(client.clone(), &store, &dirty) => {}
            () = watch_slices(client, &store, &dirty) => {}
            () = publish(&store, &dirty, shared) => {}
            () = follow(token) => {}
            _ = stopped => {}
        }
    });
    // A look-up of a name that hangs is not waited for.
    runtime.shutdown_background();
}

fn say(tell: &mpsc::SyncSender<Result<(), Exit>>, what: Result<(), Exit>) {
    // Whoever started this waits for it.
    let _ = tell.send(what);
}

/// Keeps the token up to date, for ever.
async fn follow(token: Option<Arc<Token>>) {
    match token {
        Some(token) => token.follow().await,
        None => pending().await,
    }
}

/// Shows what has changed, for ever.
async fn publish(store: &Store, dirty: &Dirty, shared: &Shared) {
    loop {
        dirty.changed().await;
        // At once: a pod that goes fails its first calls within milliseconds, and these
        // are judged by what is known a second later at most.
        let began = Instant::now();
        shared.set_kubernetes(store.table());
        sleep((began.elapsed() * SHARE).clamp(SETTLE, SLOWEST)).await;
    }
}

#[cfg(test)]
mod tests;
