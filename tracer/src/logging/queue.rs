//! Lines on their way to standard error. A thread of its own writes them: who
//! logs never waits for who reads, and a line that finds no room is counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, sleep},
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::privileges::{self, Opens, Role, Sockets};

/// Lines that may wait, some 50 KB.
const WAITING: usize = 256;
/// Time between two looks at whether all is written.
const LOOK: Duration = Duration::from_millis(2);

/// What became of the lines.
#[derive(Debug, Default)]
struct Counts {
    /// That wait to be written, or are being.
    waiting: AtomicU64,
    /// That found no room, or could not be written.
    lost: AtomicU64,
}

/// The end that lines go into; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lines: SyncSender<Box<[u8]>>,
    counts: Arc<Counts>,
}

impl Queue {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        let counts = Arc::new(Counts::default());
        let of_thread = Arc::clone(&counts);
        Builder::new().name("log".into()).spawn(move || {
            privileges::settle(Role::Reader);
            privileges::wall(Opens::Below(&[]), None);
            privileges::confine(Sockets::None);
            write_all(out, &waiting, &of_thread);
        })?;
        Ok(Self { lines, counts })
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.counts.waiting.load(Ordering::Acquire) > 0 && Instant::now() < until {
            sleep(LOOK);
        }
    }
}

/// Until the last of the senders is gone.
fn write_all(mut out: impl Write, lines: &Receiver<Box<[u8]>>, counts: &Counts) {
    let mut told = 0;
    for line in lines {
        let written = out.write_all(&line).and_then(|()| out.flush());
        counts.waiting.fetch_sub(1, Ordering::Release);
        if written.is_err() {
            counts.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // This one got through: so may a line on those that did not.
        let lost = counts.lost.load(Ordering::Relaxed);
        if lost > told {
            told = lost;
            tracing::warn!(
                lost,
                "lines of the log were lost: they could not be written in time"
            );
        }
    }
}

impl Write for &Queue {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(line.into()).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::Release);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (mut reader, writer) = io::pipe().unwrap();
        let queue = Queue::start(writer).unwrap();
        // More than the pipe and the queue hold.
        let line = [b'x'; 1000];
        for _ in 0..10_000 {
            (&queue).write_all(&line).unwrap();
        }
        let lost = queue.lost();
        assert!(lost > 8000, "{lost}");
        queue.flush(Duration::from_millis(10));
        // What was not lost comes, whole.
        let kept = (10_000 - lost) as usize * line.len();
        let mut all = vec![0; kept];
        reader.read_exact(&mut all).unwrap();
        queue.flush(LIMIT);
        assert!(all.iter().all(|byte| *byte == b'x'));
        assert_eq!(queue.lost(), lost);
    }

    #[test]
    fn what_cannot_be_written_is_lost() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let queue = Queue::start(writer).unwrap();
        (&queue).write_all(b"a line\n").unwrap();
        queue.flush(LIMIT);
        let until = Instant::now() + LIMIT;
        while queue.lost() == 0 && Instant::now() < until {
            sleep(LOOK);
        }
        assert_eq!(queue.lost(), 1);
    }
}
