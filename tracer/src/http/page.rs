//! Metrics pages on their way. Who scrapes before a page is made gets that one: all who wait
//! share it, and nobody gets numbers from before asking. When making pages has taken its share of
//! a CPU, the next page, and all who wait for it, come up to a second later. A long page is sent
//! as it is written instead, so that it is never in memory whole.

mod budget;
mod chunks;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex as Lock, PoisonError, Weak},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::{
    spawn,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep, timeout},
};

use self::{budget::Budget, chunks::Chunks};
use crate::{
    metrics::{self, Format, Process},
    recorder::Recorder,
};

/// Pages that may be in memory or on their way at once: a client that reads slowly holds one.
pub(super) const PAGES: usize = 6;
/// How long a scrape waits for a page that is being made for another.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits while too many pages are on their way.
const TURN: Duration = Duration::from_secs(1);
/// How old a page may be, from its end, when there is no room for another.
const SHARED: Duration = Duration::from_secs(1);

/// The pages in memory, by their form.
pub(super) struct Pages {
    text: Mutex<Shelf>,
    open: Mutex<Shelf>,
    turns: Arc<Semaphore>,
    budget: Lock<Budget>,
}

/// The last page of one form; locked while the next is made.
#[derive(Default)]
struct Shelf(Option<Arc<Page>>);

/// A page that is in memory whole.
struct Page {
    chunks: Vec<Bytes>,
    ended: Instant,
    _turn: OwnedSemaphorePermit,
}

/// What a scrape gets.
enum Rendered {
    Whole(Arc<Page>),
    /// It is still being written, as the client reads.
    Long(Body),
}

/// Why a scrape gets nothing.
pub(super) enum Refused {
    /// Too many pages are on their way to clients that read slowly.
    Busy,
    /// The counters cannot be read.
    Failed(anyhow::Error),
}

impl Pages {
    pub(super) fn new() -> Self {
        Self {
            text: Mutex::default(),
            open: Mutex::default(),
            turns: Arc::new(Semaphore::new(PAGES)),
            budget: Lock::default(),
        }
    }

    /// A page that ended after this was called; where there is no room for one, the last one, if
    /// it is no older than [`SHARED`].
    pub(super) async fn page(
        self: &Arc<Self>,
        recorder: &Recorder,
        format: Format,
    ) -> Result<Body, Refused> {
        let (pages, recorder) = (Arc::clone(self), recorder.clone());
        // To its end, also for a client that goes: others may wait for it.
        let made = spawn(pages.make(recorder, format, Instant::now())).await;
        made.unwrap_or_else(|e| Err(Refused::Failed(e.into())))
    }

    async fn make(
        self: Arc<Self>,
        recorder: Recorder,
        format: Format,
        asked: Instant,
    ) -> Result<Body, Refused> {
        let locked = timeout(PATIENCE, self.shelf(format).lock()).await;
        let mut shelf = locked.map_err(|_| Refused::Busy)?;
        drop(shelf.0.take_if(|page| page.ended.elapsed() >= SHARED));
        if let Some(page) = &shelf.0
            && page.ended > asked
        {
            return Ok(page.body());
        }
        let turn = match (Arc::clone(&self.turns).try_acquire_owned(), &shelf.0) {
            (Ok(turn), _) => turn,
            (Err(_), Some(page)) => return Ok(page.body()),
            (Err(_), None) => {
                let turn = timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
                turn.ok().and_then(Result::ok).ok_or(Refused::Busy)?
            }
        };
        let wait = self.budget().wait();
        sleep(wait).await;
        let began = Instant::now();
        let rendered = render(recorder, format, turn).await;
        self.budget().spend(began.elapsed());
        Ok(match rendered.map_err(Refused::Failed)? {
            Rendered::Whole(page) => {
                shelf.0 = Some(Arc::clone(&page));
                spawn(Arc::clone(&self).clear(format, Arc::downgrade(&page)));
                page.body()
            }
            Rendered::Long(body) => body,
        })
    }

    /// Takes a page from its shelf when nobody may get it any more.
    async fn clear(self: Arc<Self>, format: Format, page: Weak<Page>) {
        sleep(SHARED).await;
        let mut shelf = self.shelf(format).lock().await;
        let is_same = |shown: &mut Arc<Page>| Arc::as_ptr(shown) == page.as_ptr();
        drop(shelf.0.take_if(is_same));
    }

    fn shelf(&self, format: Format) -> &Mutex<Shelf> {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.open,
        }
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn body(self: &Arc<Self>) -> Body {
        let page = Arc::clone(self);
        let mut next = 0;
        Body::from_stream(stream::poll_fn(move |_| {
            let chunk = page.chunks.get(next).cloned();
            next += 1;
            chunk.map(Ok::<_, Infallible>).into()
        }))
    }
}

/// Looks at the counters and writes the page; a long one goes on being written.
async fn render(
    recorder: Recorder,
    format: Format,
    turn: OwnedSemaphorePermit,
) -> anyhow::Result<Rendered> {
    let (tell, told) = oneshot::channel();
    // A look at the counters may wait for another one's end.
    tokio::task::spawn_blocking(move || {
        let scrape = match recorder.scrape() {
            Ok(scrape) => scrape,
            Err(e) => return drop(tell.send(Err(e))),
        };
        let mut chunks = Chunks::new(turn, tell);
        let written = metrics::write(scrape, Process::read(), format, &mut chunks);
        chunks.finish(written.is_ok());
    });
    told.await?
}
