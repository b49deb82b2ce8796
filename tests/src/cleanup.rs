//! What the bed has made and must remove, however the process ends.

use std::{
    io::{PipeReader, Read as _, pipe},
    os::fd::{IntoRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MntFlags, umount2},
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, killpg, sigaction},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Where `ip netns` keeps its named namespaces.
pub const NETNS_DIR: &str = "/run/netns";

/// One thing to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A process group leader, and the namespace it was started in.
    Process { pid: i32, netns: String },
    /// A named network namespace.
    Netns(String),
    /// A directory of scratch files.
    Dir(PathBuf),
}

static REGISTRY: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// A poisoned list is still the list of what to remove.
pub(crate) fn registry() -> MutexGuard<'static, Vec<Entry>> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn register(entry: Entry) {
    registry().push(entry);
}

pub(crate) fn forget(entry: &Entry) {
    registry().retain(|e| e != entry);
}

/// A number no other call in this process gets: for unique names.
pub(crate) fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Removes everything when SIGINT, SIGTERM or SIGHUP arrives, then ends the
/// process with status 128 + signal. Making a namespace calls this; calling it
/// again does nothing.
pub fn install_signal_cleanup() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = start_watcher() {
            eprintln!("testbed: no clean-up on signals: {error:#}");
        }
    });
}

fn start_watcher() -> Result<()> {
    let (reader, writer) = pipe().context("pipe")?;
    // The write end stays open for the life of the process: the handler uses it.
    WAKE.store(OwnedFd::from(writer).into_raw_fd(), Ordering::Relaxed);
    std::thread::Builder::new()
        .name("bed-cleanup".into())
        .spawn(move || watch(reader))
        .context("start the clean-up thread")?;
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only calls write(2), which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.context("sigaction")?;
    }
    Ok(())
}

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal.to_le_bytes()[0];
    // SAFETY: the pointer covers one live byte; a bad descriptor only fails.
    unsafe { libc::write(WAKE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// Set by the first signal once somebody waits for it.
static ASKED_TO_END: AtomicBool = AtomicBool::new(false);
static IS_AWAITED: AtomicBool = AtomicBool::new(false);

/// From now on the first signal only makes this true; the second removes
/// everything.
pub fn asked_to_end() -> bool {
    IS_AWAITED.store(true, Ordering::Relaxed);
    ASKED_TO_END.load(Ordering::Relaxed)
}

fn watch(mut reader: PipeReader) {
    let mut signal = [0u8];
    while reader.read_exact(&mut signal).is_ok() {
        let is_first = !ASKED_TO_END.swap(true, Ordering::Relaxed);
        if is_first && IS_AWAITED.load(Ordering::Relaxed) {
            continue;
        }
        eprintln!("\ninterrupted: removing namespaces and processes");
        remove_everything();
        // SAFETY: ends the process at once; no destructor may run beside the
        // threads that are still using what was just removed.
        unsafe { libc::_exit(128 + i32::from(signal[0])) };
    }
}

/// Kills every process and deletes every namespace and scratch directory that
/// the bed still holds. Errors are left out: there is nobody to mend them.
pub fn remove_everything() {
    let entries = registry().clone();
    let mut pids: Vec<i32> = Vec::new();
    for entry in &entries {
        if let Entry::Process { pid, .. } = entry {
            // ESRCH: gone already.
            let _ = killpg(Pid::from_raw(*pid), Signal::SIGKILL);
            pids.push(*pid);
        }
    }
    reap(&mut pids, Duration::from_secs(2));
    for entry in &entries {
        match entry {
            Entry::Process { .. } => {}
            Entry::Netns(name) => delete_netns(name),
            Entry::Dir(path) => drop(std::fs::remove_dir_all(path)),
        }
    }
    registry().clear();
}

fn reap(pids: &mut Vec<i32>, limit: Duration) {
    let start = Instant::now();
    loop {
        pids.retain(|pid| {
            let status = waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG));
            matches!(status, Ok(WaitStatus::StillAlive))
        });
        if pids.is_empty() || start.elapsed() > limit {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What `ip netns delete` does, without a process.
pub(crate) fn delete_netns(name: &str) {
    let path = Path::new(NETNS_DIR).join(name);
    let _ = umount2(&path, MntFlags::MNT_DETACH);
    let _ = std::fs::remove_file(&path);
}

/// A directory of scratch files, removed on drop.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes a new empty directory below the system's temporary directory.
    pub fn new() -> Result<Self> {
        install_signal_cleanup();
        let name = format!("bed-{}-{}", std::process::id(), unique());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        register(Entry::Dir(path.clone()));
        Ok(Self(path))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes `text` to the file `name` in the directory and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        forget(&Entry::Dir(std::mem::take(&mut self.0)));
    }
}
