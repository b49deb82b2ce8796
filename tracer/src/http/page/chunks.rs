//! A page as it is written.

use std::{fmt, io, mem, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};

use super::{Page, Rendered};

/// Bytes that are sent at once, about.
const CHUNK: usize = 64 * 1024;
/// Chunks of a long page that may wait for the client.
const AHEAD: usize = 2;
/// Most chunks that a page in memory has: 2 MiB.
pub(super) const KEPT: usize = 32;

/// Gathers what is written: a page that stays short is kept, a long one goes out in pieces.
pub(super) struct Chunks {
    chunk: String,
    kept: Vec<Bytes>,
    out: Out,
}

enum Out {
    /// Nobody has got anything yet.
    Kept(
        OwnedSemaphorePermit,
        oneshot::Sender<anyhow::Result<Rendered>>,
    ),
    /// Somebody reads.
    Sent(mpsc::Sender<io::Result<Bytes>>),
    /// Nobody reads any more.
    Nowhere,
}

impl Chunks {
    pub(super) fn new(
        turn: OwnedSemaphorePermit,
        tell: oneshot::Sender<anyhow::Result<Rendered>>,
    ) -> Self {
        Self {
            chunk: String::with_capacity(CHUNK),
            kept: Vec::new(),
            out: Out::Kept(turn, tell),
        }
    }

    /// Puts the chunk where it belongs.
    fn send(&mut self) -> fmt::Result {
        let chunk = mem::replace(&mut self.chunk, String::with_capacity(CHUNK));
        self.kept.push(chunk.into());
        if self.kept.len() > KEPT {
            self.begin_to_send();
        }
        if let Out::Kept(..) = &self.out {
            return Ok(());
        }
        for chunk in mem::take(&mut self.kept) {
            let Out::Sent(to) = &self.out else {
                return Err(fmt::Error);
            };
            to.blocking_send(Ok(chunk)).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }

    /// It is too long to be kept: who has asked reads it as it comes.
    fn begin_to_send(&mut self) {
        if let Out::Kept(turn, tell) = mem::replace(&mut self.out, Out::Nowhere) {
            let (to, mut from) = mpsc::channel(AHEAD);
            let body = Body::from_stream(poll_fn(move |context| {
                let _ = &turn;
                from.poll_recv(context)
            }));
            if tell.send(Ok(Rendered::Long(body))).is_ok() {
                self.out = Out::Sent(to);
            }
        }
    }

    /// The page is written, or could not be.
    pub(super) fn finish(mut self, is_whole: bool) {
        let is_whole = is_whole && self.send().is_ok();
        match self.out {
            Out::Kept(turn, tell) => {
                let page = Page {
                    chunks: self.kept,
                    ended: Instant::now(),
                    _turn: turn,
                };
                let cut = || anyhow::anyhow!("the page is cut short");
                let page = Rendered::Whole(Arc::new(page));
                // Who asked may have gone.
                let _ = tell.send(is_whole.then_some(page).ok_or_else(cut));
            }
            // A page that is cut short must not pass for a whole one. (That nobody reads any
            // more is the usual reason; then nobody gets this either.)
            Out::Sent(to) if !is_whole => {
                let _ = to.blocking_send(Err(io::Error::other("the page is cut short")));
            }
            Out::Sent(_) | Out::Nowhere => {}
        }
    }
}

impl fmt::Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.chunk.push_str(text);
        if self.chunk.len() < CHUNK {
            return Ok(());
        }
        self.send()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tokio::sync::Semaphore;

    use super::*;

    async fn written(length: usize, is_whole: bool) -> Rendered {
        let turn = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (tell, told) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let mut chunks = Chunks::new(turn, tell);
            for _ in 0..length {
                if chunks.write_str(&"x".repeat(CHUNK)).is_err() {
                    return;
                }
            }
            chunks.finish(is_whole);
        });
        told.await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn short_pages_are_kept_and_long_ones_sent() {
        let Rendered::Whole(page) = written(KEPT - 1, true).await else {
            panic!("sent");
        };
        let size: usize = page.chunks.iter().map(Bytes::len).sum();
        assert_eq!(size, (KEPT - 1) * CHUNK);
        let Rendered::Long(body) = written(2 * KEPT, true).await else {
            panic!("kept");
        };
        let all = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        assert_eq!(all.len(), 2 * KEPT * CHUNK);
        let Rendered::Long(body) = written(2 * KEPT, false).await else {
            panic!("kept");
        };
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
    }
}
