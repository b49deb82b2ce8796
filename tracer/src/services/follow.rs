//! Reads the file of names again when it changes.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use super::{Shared, end, file};
use crate::{
    exit::Code,
    files::{self, Refusal},
    privileges::{self, Opens, Role, Sockets},
};

/// How often the file is looked at. A look is one call; being told of changes
/// would need a watch on every directory that a mounted ConfigMap's links lead
/// through.
const LOOK: Duration = Duration::from_secs(2);

/// The thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Follow {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follow {
    pub(super) fn start(path: &Path, shared: Arc<Shared>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let mut file = Watched::new(path);
        let thread = Builder::new().name("names".into()).spawn(move || {
            privileges::settle(Role::Reader);
            privileges::wall(Opens::Below(&privileges::folders(&file.path)), None);
            privileges::confine(Sockets::None);
            file.follow(&shared, &stopped);
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            end(thread);
        }
    }
}

/// What tells one version of a file from another: device, inode, size, and
/// times of modification and change in seconds and nanoseconds.
type Version = (u64, u64, u64, (i64, i64), (i64, i64));

/// A file and the version that was read last.
pub(super) struct Watched {
    path: PathBuf,
    /// `None`: it is to be read, whatever its version.
    version: Option<Version>,
    /// The file has been looked at before.
    looked: bool,
    /// What is wrong with it, as told; `None`: nothing.
    told: Option<String>,
}

impl Watched {
    /// A file that has just been read, and was good.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            // It may have changed since: it is read once more.
            version: None,
            looked: false,
            told: None,
        }
    }

    fn follow(&mut self, shared: &Shared, stopped: &Receiver<()>) {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.look(shared);
        }
    }

    /// Takes a new version, if there is one. A bad one changes nothing, and is told once.
    pub(super) fn look(&mut self, shared: &Shared) {
        let version = version(&self.path).ok();
        if version.is_some() && version == self.version {
            return;
        }
        let first = !self.looked;
        self.looked = true;
        match file::read(&self.path) {
            Ok(table) => {
                self.version = version;
                let changed = shared.set_file(table);
                let was_wrong = self.told.take().is_some();
                if was_wrong || (changed && !first) {
                    tracing::info!(path = %self.path.display(), "names read anew");
                }
            }
            Err(e) => {
                // What is wrong may pass without a change: a file system that hangs.
                let is_file = e.code() == Code::Config;
                self.version = version.filter(|_| is_file);
                let cause = e.to_string();
                if self.told.as_ref() != Some(&cause) {
                    tracing::warn!(cause, "the names stay as they were");
                }
                self.told = Some(cause);
            }
        }
    }
}

fn version(path: &Path) -> Result<Version, Refusal> {
    let about = files::metadata(path)?;
    Ok((
        about.dev(),
        about.ino(),
        about.size(),
        (about.mtime(), about.mtime_nsec()),
        (about.ctime(), about.ctime_nsec()),
    ))
}
