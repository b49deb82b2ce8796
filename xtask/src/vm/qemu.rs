//! One guest in QEMU, judged by the markers on its serial console.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use super::{Clock, GuestReport, SEEN_MARK};
use crate::proc::{self, Group, Progress};
use crate::workspace;

/// From the start of QEMU to the guest's shell.
const BOOT_LIMIT: Duration = Duration::from_secs(150);
/// From the guest's shell to its exit marker.
const RUN_LIMIT: Duration = Duration::from_secs(900);
/// Marks the guest's shell; `uname -r` follows.
const SHELL: &str = "@shell ";
/// Marks the end of the guest's programs; their status follows.
const EXIT: &str = "@exit ";
/// Without the string instructions that copy a page as one: each byte of them would count.
const COUNTED_CPU: &str = "max,-erms,-fsrm";
/// One instruction, one nanosecond; the calendar and the random numbers are the guest's own.
const COUNTED: &[&str] = &[
    "-icount",
    "shift=0,sleep=off",
    "-rtc",
    "clock=vm",
    "-seed",
    "1",
];
const TICK: Duration = Duration::from_millis(200);

/// Boots `kernel` with `initramfs`; once more if the shell was never reached.
pub(super) fn run(kernel: &Kernel, initramfs: &Path, clock: Clock) -> Result<GuestReport> {
    let series = kernel
        .dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let log = workspace::target_dir("logs")?.join(format!("vm-{series}.log"));
    for attempt in 1..=2 {
        let guest = boot(&series, command(kernel, initramfs, clock), kernel, &log)?;
        let Some((kernel_release, boot)) = guest.shell else {
            eprintln!(
                "  vm {series}: no shell in attempt {attempt}; see {}",
                log.display()
            );
            continue;
        };
        let Some(exit) = guest.exit else {
            proc::show_tail(&log)?;
            let limit = RUN_LIMIT.as_secs();
            bail!(
                "the guest's programs did not end within {limit} s: see {}",
                log.display()
            );
        };
        let (output, seen, run) = (guest.output, guest.seen, guest.run);
        return Ok(GuestReport {
            kernel_release,
            exit,
            output,
            seen,
            boot,
            run,
            log,
        });
    }
    bail!(
        "{} never reached its shell: see {}; to fetch it anew, remove {}",
        kernel.release,
        log.display(),
        kernel.dir.display()
    )
}

fn command(kernel: &Kernel, initramfs: &Path, clock: Clock) -> Command {
    // setpriv ends QEMU also where this process is killed without a chance to do it. Never KVM:
    // where it is nested it may open and then hang. A second CPU gains nothing and has hung boots.
    let mut command = workspace::command("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    let (cpu, more): (_, &[&str]) = match clock {
        Clock::Host => ("max", &[]),
        Clock::Instructions => (COUNTED_CPU, COUNTED),
    };
    command.args([
        "-accel", "tcg", "-machine", "q35", "-cpu", cpu, "-smp", "1", "-m", "512",
    ]);
    command.args(more);
    command.args([
        "-display",
        "none",
        "-serial",
        "stdio",
        "-monitor",
        "none",
        "-nodefaults",
    ]);
    command.args(["-no-user-config", "-no-reboot"]);
    command
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs);
    let append = "console=ttyS0 panic=-1 quiet loglevel=1 nokaslr mitigations=off";
    command.args(["-append", append]);
    command
}

#[derive(Default)]
struct Guest {
    shell: Option<(String, Duration)>,
    exit: Option<i32>,
    run: Duration,
    output: String,
    seen: Vec<String>,
}

impl Guest {
    /// Takes in one line of the console.
    fn line(&mut self, line: &str, elapsed: Duration) {
        // The firmware leaves control sequences before the first line.
        if let Some((_, release)) = line.split_once(SHELL).filter(|_| self.shell.is_none()) {
            self.shell = Some((release.trim().to_owned(), elapsed));
        } else if let Some(status) = line.strip_prefix(EXIT) {
            self.exit = status.trim().parse().ok();
            let boot = self
                .shell
                .as_ref()
                .map_or(Duration::ZERO, |(_, boot)| *boot);
            self.run = elapsed.saturating_sub(boot);
        } else if let Some(seen) = line.strip_prefix(SEEN_MARK) {
            self.seen.push(seen.to_owned());
        } else if self.shell.is_some() {
            self.output.push_str(line);
            self.output.push('\n');
        }
    }

    fn limit(&self) -> Duration {
        self.shell
            .as_ref()
            .map_or(BOOT_LIMIT, |(_, boot)| *boot + RUN_LIMIT)
    }
}

fn boot(series: &str, mut qemu: Command, kernel: &Kernel, log: &Path) -> Result<Guest> {
    let errors = log.with_extension("err");
    qemu.stdout(Stdio::piped()).stderr(File::create(&errors)?);
    let mut progress = Progress::plain(&format!("vm {series} ({})", kernel.release));
    let mut group = Group::spawn(&mut qemu)?;
    let console = group
        .child()
        .stdout
        .take()
        .context("QEMU has no standard output")?;
    let lines = follow(console, File::create(log)?);
    let mut guest = Guest::default();
    let ending = loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => guest.line(&line, progress.elapsed()),
            Err(RecvTimeoutError::Timeout) => progress.tick(),
            Err(RecvTimeoutError::Disconnected) => break String::from("QEMU ended"),
        }
        if guest.exit.is_some() {
            break String::from("the guest's programs ended");
        }
        if progress.elapsed() > guest.limit() {
            break String::from("time limit");
        }
    };
    drop(group);
    progress.finish(
        guest.exit == Some(0),
        &ending_in_words(&guest, &ending, &errors)?,
    );
    Ok(guest)
}

fn ending_in_words(guest: &Guest, ending: &str, errors: &Path) -> Result<String> {
    let said = std::fs::read_to_string(errors)?;
    let status = guest
        .exit
        .map_or_else(|| ending.to_owned(), |exit| format!("exit status {exit}"));
    Ok(if said.trim().is_empty() {
        status
    } else {
        format!("{status}; QEMU: {}", said.trim())
    })
}

/// Lines of the console as they come, also written to `log` with the seconds since the start of
/// QEMU. Ends with QEMU.
fn follow(console: impl std::io::Read + Send + 'static, mut log: File) -> Receiver<String> {
    let (sender, receiver) = channel();
    let start = Instant::now();
    std::thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        while matches!(console.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            // Without the log the lines still count.
            let _ = write!(log, "[{:6.1}] ", start.elapsed().as_secs_f64());
            let _ = log.write_all(&line);
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_delimit_the_output() {
        let mut guest = Guest::default();
        let lines = [
            "boot noise",
            "\x1b[2J@shell 6.1.0-50",
            "test result: ok",
            "@seen {}",
            "@exit 4",
        ];
        for (second, line) in (0..).zip(lines) {
            guest.line(line, Duration::from_secs(second));
        }
        let shell = ("6.1.0-50".to_owned(), Duration::from_secs(1));
        assert_eq!(guest.shell, Some(shell));
        assert_eq!(guest.output, "test result: ok\n");
        assert_eq!(guest.seen, ["{}"]);
        assert_eq!((guest.exit, guest.run), (Some(4), Duration::from_secs(3)));
    }
}
