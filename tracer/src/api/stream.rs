//! Failures as lines of JSON, written as they come.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream::unfold};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{recorder::Follower, report::Event};

/// Lines that are written at once, at most.
const BATCH: usize = 64;

struct Lines {
    remembered: VecDeque<Arc<Event>>,
    follower: Option<(Follower, watch::Receiver<()>)>,
    _turn: OwnedSemaphorePermit,
}

/// The remembered failures, then those that come, if they are asked for, until
/// the recorder ends or the receiver is told. The turn ends with the stream.
pub(super) fn lines(
    remembered: Vec<Arc<Event>>,
    follower: Option<(Follower, watch::Receiver<()>)>,
    turn: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let lines = Lines {
        remembered: remembered.into(),
        follower,
        _turn: turn,
    };
    unfold(lines, async |mut lines| {
        let bytes = lines.next().await?;
        Some((Ok(bytes), lines))
    })
}

impl Lines {
    async fn next(&mut self) -> Option<Bytes> {
        let mut batch = Vec::new();
        if !self.remembered.is_empty() {
            let count = self.remembered.len().min(BATCH);
            for event in self.remembered.drain(..count) {
                write(&mut batch, &*event);
            }
            return Some(batch.into());
        }
        let (follower, stopped) = self.follower.as_mut()?;
        let line = tokio::select! {
            line = follower.next() => line?,
            _ = stopped.changed() => return None,
        };
        write(&mut batch, &line);
        for _ in 1..BATCH {
            let Some(line) = follower.try_next() else {
                break;
            };
            write(&mut batch, &line);
        }
        Some(batch.into())
    }
}

fn write(to: &mut Vec<u8>, line: &impl serde::Serialize) {
    // Neither writing to memory nor these types can fail.
    if serde_json::to_writer(&mut *to, line).is_ok() {
        to.push(b'\n');
    }
}
