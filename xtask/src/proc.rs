//! Child processes: logged steps with progress, time limits, and nothing left behind.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::workspace;

/// How long children may take to clean up after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How often a long step says that it is alive where there is no terminal.
const PLAIN_PROGRESS: Duration = Duration::from_secs(60);
/// Lines of a failed step's log that are shown.
const TAIL_LINES: usize = 60;
/// Exit status after an interrupt, as shells report SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Process groups that are alive; locked while one is being started.
static LIVE: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Pid>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On SIGINT, SIGTERM or SIGHUP ends every [`Group`], waits for them and exits with status 130.
pub(crate) fn end_children_on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        // Held until exit: nothing new starts, and no other thread reports the killed children.
        let groups = live();
        eprintln!("\ninterrupted: ending {} running step(s)", groups.len());
        signal_all(&groups, Signal::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && groups.iter().any(|group| exists(*group)) {
            sleep(Duration::from_millis(50));
            // A child that nobody waits for still counts as a member of its group.
            let _ = waitpid(None, Some(WaitPidFlag::WNOHANG));
        }
        signal_all(&groups, Signal::SIGKILL);
        std::process::exit(EXIT_INTERRUPTED);
    })
    .context("cannot handle interrupts")
}

fn signal_all(groups: &[Pid], signal: Signal) {
    for group in groups {
        // The group may have ended by itself: nothing to do then.
        let _ = killpg(*group, signal);
    }
}

fn exists(group: Pid) -> bool {
    killpg(group, None) != Err(Errno::ESRCH)
}

/// A child that leads its own process group; the whole group ends when this is dropped.
pub(crate) struct Group {
    child: Child,
    pid: Pid,
}

impl Group {
    /// Starts `command` without a standard input.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let mut groups = live();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        groups.push(pid);
        Ok(Self { child, pid })
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The status, once the child has ended.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for a child")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = live();
        if exists(self.pid) {
            signal_all(&[self.pid], Signal::SIGTERM);
            let deadline = Instant::now() + GRACE;
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                sleep(Duration::from_millis(20));
            }
            signal_all(&[self.pid], Signal::SIGKILL);
            let _ = self.child.wait();
        }
        groups.retain(|group| *group != self.pid);
    }
}

/// What became of a [`step`].
pub(crate) struct Finished {
    /// Whether it ended with status 0 in time.
    pub(crate) success: bool,
    /// How it ended, in words.
    pub(crate) ending: String,
    /// Its standard output and error.
    pub(crate) log: PathBuf,
    /// Wall-clock duration.
    pub(crate) elapsed: Duration,
}

impl Finished {
    /// All that the step printed.
    pub(crate) fn output(&self) -> Result<String> {
        read(&self.log)
    }

    /// Shows the end of the log on stderr.
    pub(crate) fn show_tail(&self) -> Result<()> {
        show_tail(&self.log)
    }
}

fn read(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Shows the end of `log` on stderr.
pub(crate) fn show_tail(log: &Path) -> Result<()> {
    let output = read(log)?;
    let lines: Vec<&str> = output.lines().collect();
    eprintln!("---- {} (end of it)", log.display());
    for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        eprintln!("     {line}");
    }
    eprintln!("----");
    Ok(())
}

/// Runs `command` with its output in `target/logs/NAME.log`; says so on stderr, with the
/// elapsed time on a terminal. The process group is ended after `limit`.
pub(crate) fn step(name: &str, mut command: Command, limit: Duration) -> Result<Finished> {
    let log = workspace::target_dir("logs")?.join(format!("{}.log", file_name(name)));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stderr(file.try_clone()?).stdout(file);
    let mut progress = Progress::new(name);
    let mut group = Group::spawn(&mut command)?;
    let (success, ending) = loop {
        if let Some(status) = group.try_wait()? {
            break (status.success(), status.to_string());
        }
        if progress.elapsed() > limit {
            break (false, format!("no end within {} s", limit.as_secs()));
        }
        progress.tick();
        sleep(Duration::from_millis(50));
    };
    drop(group);
    let elapsed = progress.finish(success, &ending);
    Ok(Finished {
        success,
        ending,
        log,
        elapsed,
    })
}

/// [`step`] that must succeed: otherwise shows the end of its log and fails.
pub(crate) fn must(name: &str, command: Command, limit: Duration) -> Result<Finished> {
    let finished = step(name, command, limit)?;
    if !finished.success {
        finished.show_tail()?;
        bail!(
            "{name}: {}; see {}",
            finished.ending,
            finished.log.display()
        );
    }
    Ok(finished)
}

/// Standard output of a short command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn file_name(step: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    step.chars().map(keep).collect()
}

/// One line on a terminal that counts the seconds; elsewhere a line at the start, at the end and
/// every minute.
pub(crate) struct Progress {
    name: String,
    note: String,
    start: Instant,
    said: Duration,
    terminal: bool,
}

impl Progress {
    /// Starts counting.
    pub(crate) fn new(name: &str) -> Self {
        Self::on(name, std::io::stderr().is_terminal())
    }

    /// The same for one of several at once, which cannot share a terminal's line.
    pub(crate) fn plain(name: &str) -> Self {
        Self::on(name, false)
    }

    fn on(name: &str, terminal: bool) -> Self {
        if !terminal {
            eprintln!("  {name} …");
        }
        Self {
            name: name.to_owned(),
            note: String::new(),
            start: Instant::now(),
            said: Duration::ZERO,
            terminal,
        }
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What stands behind the seconds.
    pub(crate) fn note(&mut self, note: String) {
        self.note = note;
    }

    /// To be called again and again.
    pub(crate) fn tick(&mut self) {
        let elapsed = self.elapsed();
        let every = if self.terminal {
            Duration::from_secs(1)
        } else {
            PLAIN_PROGRESS
        };
        if elapsed < self.said + every {
            return;
        }
        self.said = elapsed;
        let Self { name, note, .. } = self;
        let seconds = elapsed.as_secs();
        if self.terminal {
            // The line is blanked first (ECMA-48, erase in line).
            eprint!("\r\x1b[K  {name} … {seconds} s{note}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("  {name} … {seconds} s{note}");
        }
    }

    /// Says how it ended.
    pub(crate) fn finish(self, success: bool, ending: &str) -> Duration {
        let elapsed = self.elapsed();
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let result = if success { "ok" } else { ending };
        eprintln!(
            "{start}  {}: {result}, {:.1} s",
            self.name,
            elapsed.as_secs_f64()
        );
        elapsed
    }
}
