//! A metrics page on its way: it is written as it is read, so that a long one is never in
//! memory whole.

use std::{fmt, io, mem};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    metrics::{self, Format, Process},
    recorder::Scrape,
};

/// Bytes that are sent at once, about.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for the client.
const AHEAD: usize = 2;

/// The page as a body, with which the turn ends. Who writes it waits for the client no
/// longer than that.
pub(super) fn body(scrape: Scrape, format: Format, turn: OwnedSemaphorePermit) -> Body {
    let (to, mut from) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let chunk = String::with_capacity(CHUNK);
        let mut chunks = Chunks { to, chunk };
        let written = metrics::write(scrape, Process::read(), format, &mut chunks);
        if written.and_then(|()| chunks.send()).is_err() {
            // A page that is cut short must not pass for a whole one. (That nobody reads
            // any more is the usual reason; then nobody gets this either.)
            let _ = chunks
                .to
                .blocking_send(Err(io::Error::other("the page is cut short")));
        }
    });
    Body::from_stream(poll_fn(move |context| {
        let _ = &turn;
        from.poll_recv(context)
    }))
}

/// Gathers what is written, and sends it in pieces.
struct Chunks {
    to: mpsc::Sender<io::Result<Bytes>>,
    chunk: String,
}

impl Chunks {
    fn send(&mut self) -> fmt::Result {
        let chunk = mem::replace(&mut self.chunk, String::with_capacity(CHUNK));
        let sent = self.to.blocking_send(Ok(chunk.into()));
        sent.map_err(|_| fmt::Error)
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
