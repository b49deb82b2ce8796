//! Child processes that cannot outlive the bed.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::{fs::FileExt as _, process::CommandExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl,
        signal::{Signal, kill, killpg},
    },
    unistd::{Pid, getppid},
};

use crate::cleanup::{Entry, install_signal_cleanup, register, registry};

/// A running program: its own process group, killed on drop and when this
/// process dies. What it prints is kept in memory.
#[derive(Debug)]
pub struct Proc {
    child: Child,
    name: String,
    status: Option<ExitStatus>,
    stdout: File,
    stderr: File,
}

impl Proc {
    /// Starts `command` in the namespace of this process.
    pub fn start(command: Command) -> Result<Self> {
        Self::start_in(command, String::new())
    }

    pub(crate) fn start_in(mut command: Command, netns: String) -> Result<Self> {
        install_signal_cleanup();
        let name = command.get_program().to_string_lossy().into_owned();
        let (stdout, stderr) = (memory_file()?, memory_file()?);
        command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().context("share stdout")?)
            .stderr(stderr.try_clone().context("share stderr")?)
            .process_group(0);
        die_with_parent(&mut command);
        let child = spawn_from_keeper(command).with_context(|| format!("start {name}"))?;
        let pid = i32::try_from(child.id()).context("pid")?;
        register(Entry::Process { pid, netns });
        Ok(Self {
            child,
            name,
            status: None,
            stdout,
            stderr,
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// Sends `signal` to the process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()), signal)
            .with_context(|| format!("send {signal} to {}", self.name))
    }

    /// The exit status if the process has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            // Under the lock, so that the clean-up thread never signals a
            // process id that has been given to somebody else.
            let mut entries = registry();
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                let pid = self.pid();
                entries.retain(|e| !matches!(e, Entry::Process { pid: p, .. } if *p == pid));
            }
        }
        Ok(self.status)
    }

    /// Waits until the process ends. An error after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} did not end", self.name);
        poll_until(limit, &what, || self.try_wait())
    }

    /// Sends `signal` and waits for the end; after `limit` SIGKILL and an error.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        self.signal(signal)?;
        let status = self.wait(limit);
        if status.is_err() {
            self.kill();
        }
        status
    }

    /// SIGKILL to the whole group, then waits for the process.
    pub fn kill(&mut self) {
        if let Ok(None) = self.try_wait() {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.wait(Duration::from_secs(5));
        }
    }

    /// What the process has written to its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_memory(&self.stdout)
    }

    /// What the process has written to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_memory(&self.stderr)
    }

    /// Waits until `ready` says so. An error, with what the process printed, if
    /// it ends first or after `limit`.
    pub fn wait_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let waited = poll_until(limit, what, || {
            if ready(self) {
                return Ok(Some(()));
            }
            match self.try_wait()? {
                Some(status) => bail!("{} ended early: {status}", self.name),
                None => Ok(None),
            }
        });
        waited.map_err(|cause| {
            let (name, out, err) = (&self.name, self.stdout(), self.stderr());
            anyhow!("{cause:#}; {name} printed:\n{out}{err}")
        })
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Calls `step` every 10 ms until it returns a value; an error after `limit`.
pub fn poll_until<T>(
    limit: Duration,
    what: &str,
    mut step: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = step()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("{what} within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `command` to its end with `input` on its standard input and returns its
/// standard output. A status other than 0 is an error with what it printed.
pub fn run(mut command: Command, input: &str) -> Result<String> {
    let line = format!("{command:?}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    die_with_parent(&mut command);
    let mut child = command.spawn().with_context(|| format!("start {line}"))?;
    let mut stdin = child.stdin.take().context("standard input")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child
        .wait_with_output()
        .with_context(|| format!("wait for {line}"))?;
    // A program that fails early closes its input: its status tells more.
    let _ = writer.join();
    if !output.status.success() {
        bail!(
            "{line}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn memory_file() -> Result<File> {
    let fd: OwnedFd = memfd_create("bed-output", MFdFlags::MFD_CLOEXEC).context("memfd_create")?;
    Ok(File::from(fd))
}

fn read_memory(file: &File) -> String {
    // Positioned reads: the descriptor shares its offset with the child.
    let size = file.metadata().map_or(0, |m| m.len());
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    match file.read_exact_at(&mut text, 0) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

fn die_with_parent(command: &mut Command) {
    let parent = Pid::this();
    // SAFETY: the closure calls only prctl and getppid, both async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() == parent {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::NotConnected))
            }
        });
    }
}

type Job = (Command, Sender<io::Result<Child>>);

/// Forks from a thread that lives as long as the process: the parent-death
/// signal fires when the forking *thread* ends, see prctl(2).
fn spawn_from_keeper(command: Command) -> Result<Child> {
    static KEEPER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (answer, child) = channel();
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| anyhow!("the keeper thread is gone"))?;
    Ok(child.recv().context("the keeper thread is gone")??)
}
