//! Threads that hang in a file system and were left behind. While one hangs, few others wait for
//! its file, less and less often: its name may lead elsewhere by now. So what is asked again and
//! again does not gather threads.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::Refusal;

/// Threads that may hang at once.
const MOST: usize = 16;
/// Of these, on one file.
const EACH: u32 = 4;
/// Time from when one was left behind until the next may try; each time four times as long.
const PAUSE: Duration = Duration::from_secs(2);

static HANGING: Mutex<Vec<Hanging>> = Mutex::new(Vec::new());

struct Hanging {
    path: PathBuf,
    /// When it was left behind.
    since: Instant,
    ended: Arc<AtomicBool>,
}

/// A read that may begin.
pub(super) struct Entry {
    path: PathBuf,
    ended: Arc<AtomicBool>,
}

/// Says that the thread has ended when it is dropped there.
pub(super) struct Ending(Arc<AtomicBool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets a read of `path` begin, unless one hangs, or too many do.
pub(super) fn enter(path: &Path) -> Result<Entry, Refusal> {
    let mut hanging = hanging();
    hanging.retain(|one| !one.ended.load(Ordering::Relaxed));
    let same = hanging.iter().filter(|one| one.path == path);
    let (tries, last) = same.fold((0, None), |(tries, last), one| {
        (tries + 1, last.max(Some(one.since)))
    });
    if last.is_some_and(|last| tries >= EACH || last.elapsed() < pause(tries)) {
        return Err(Refusal::Late);
    }
    if hanging.len() >= MOST {
        return Err(Refusal::Crowded(hanging.len()));
    }
    Ok(Entry {
        path: path.to_owned(),
        ended: Arc::default(),
    })
}

/// Of the next try when so many hang already.
fn pause(tries: u32) -> Duration {
    PAUSE * 4_u32.pow(tries.saturating_sub(1))
}

impl Entry {
    pub(super) fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.ended))
    }

    /// Nobody waits for it any more.
    pub(super) fn leave(self) {
        let Self { path, ended } = self;
        let since = Instant::now();
        hanging().push(Hanging { path, since, ended });
    }
}

fn hanging() -> MutexGuard<'static, Vec<Hanging>> {
    HANGING.lock().unwrap_or_else(PoisonError::into_inner)
}
