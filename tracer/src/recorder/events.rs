//! The last failures one by one, for those who ask and those who follow.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast::{self, error::RecvError};
use tracer_common::failure::Failure;

use super::filter::EventFilter;
use crate::report::{Event, Line};

/// Failures that are remembered.
const REMEMBERED: usize = 4096;
/// Failures that a follower may be behind.
const BEHIND: usize = 1024;

/// The memory.
#[derive(Debug)]
pub(super) struct Events {
    /// With the time of each by the monotonic clock, nanoseconds: that of the
    /// event is by a clock that may be set.
    remembered: Mutex<VecDeque<(u64, Arc<Event>)>>,
    followers: broadcast::Sender<Arc<Event>>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            remembered: Mutex::default(),
            followers: broadcast::Sender::new(BEHIND),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<Event>)>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what happened `at`, nanoseconds of the monotonic clock.
    pub(super) fn push(&self, at: u64, event: Event) {
        let event = Arc::new(event);
        let mut remembered = self.lock();
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((at, Arc::clone(&event)));
        // Nobody follows: nobody misses it.
        let _ = self.followers.send(event);
    }

    /// How many are remembered.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The last ones at a port, the last one first.
    pub(super) fn last(&self, port: u16, most: usize) -> Vec<Event> {
        let remembered = self.lock();
        let its = remembered.iter().rev().map(|(_, e)| e);
        let its = its.filter(|e| e.node_port == port);
        its.take(most).map(|e| Event::clone(e)).collect()
    }

    /// The clients of those attempts at a port that failed after `since`,
    /// nanoseconds of the monotonic clock.
    pub(super) fn failed_clients(&self, port: u16, since: u64) -> Vec<IpAddr> {
        let attempt = |e: &Event| {
            let mut all = Failure::ALL.iter();
            all.any(|f| f.is_attempt() && f.as_str() == e.outcome)
        };
        let remembered = self.lock();
        let its = remembered.iter().filter(|(at, _)| *at >= since);
        let its = its.map(|(_, e)| e);
        let its = its.filter(|e| e.node_port == port && attempt(e));
        its.map(|e| e.client.ip()).collect()
    }

    /// Those remembered, oldest first, and those that come after them.
    pub(super) fn follow(&self, filter: &EventFilter) -> (Vec<Arc<Event>>, Follower) {
        let remembered = self.lock();
        let follower = Follower {
            receiver: self.followers.subscribe(),
            filter: filter.clone(),
        };
        let all = remembered.iter().map(|(_, e)| e);
        let all = all.filter(|e| filter.lets_through(e));
        (all.cloned().collect(), follower)
    }
}

/// Hears of failures as they come.
#[derive(Debug)]
pub struct Follower {
    receiver: broadcast::Receiver<Arc<Event>>,
    filter: EventFilter,
}

impl Follower {
    /// The next one, or how many were lost because this was called too late;
    /// `None` once the recorder has ended. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Line> {
        loop {
            let next = self.receiver.recv().await;
            if let Some(line) = self.line(next)? {
                return Some(line);
            }
        }
    }

    /// The same without waiting: `None` when there is none yet.
    pub fn try_next(&mut self) -> Option<Line> {
        use broadcast::error::TryRecvError;
        loop {
            let next = match self.receiver.try_recv() {
                Ok(event) => Ok(event),
                Err(TryRecvError::Lagged(lost)) => Err(RecvError::Lagged(lost)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            };
            if let Some(line) = self.line(next)? {
                return Some(line);
            }
        }
    }

    fn line(&self, next: Result<Arc<Event>, RecvError>) -> Option<Option<Line>> {
        match next {
            Ok(event) if self.filter.lets_through(&event) => {
                Some(Some(Line::Event(Box::new(Event::clone(&event)))))
            }
            Ok(_) => Some(None),
            Err(RecvError::Lagged(lost)) => Some(Some(Line::Lost { lost })),
            Err(RecvError::Closed) => None,
        }
    }
}
