//! Runs programs on stock Debian kernels in QEMU: an initramfs only, no disk, no network.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::workspace;

mod initramfs;
mod kernel;
mod modules;
mod qemu;

pub(crate) use kernel::series_names;

/// Where the guest's programs can leave lines, which come home.
pub(crate) const SEEN: (&str, &str) = ("TRACER_SEEN", "/tmp/seen");
/// Marks these lines on the console.
const SEEN_MARK: &str = "@seen ";

/// A program to run in the guest.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    /// The static executable on this machine; in the guest it is `/tests/FILE_NAME`.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment in addition to `PATH`, `HOME` and `TMPDIR`.
    pub(crate) env: Vec<(String, String)>,
    /// False for a file that the others use and that is only to be there.
    pub(crate) run: bool,
}

impl Binary {
    /// A file that is only to be in the guest.
    pub(crate) fn file(path: PathBuf) -> Self {
        Self {
            path,
            args: Vec::new(),
            env: Vec::new(),
            run: false,
        }
    }

    /// Where it is in the guest.
    ///
    /// # Errors
    /// Its path has no file name.
    pub(crate) fn in_guest(&self) -> Result<String> {
        initramfs::guest_name(self).map(|name| format!("/tests/{name}"))
    }
}

/// What drives the guest's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// This machine's time.
    Host,
    /// The instructions that it executes, one a nanosecond; idle time is skipped.
    Instructions,
}

/// What a guest did.
#[derive(Debug)]
pub(crate) struct GuestReport {
    /// `uname -r` in the guest.
    pub(crate) kernel_release: String,
    /// 0 when every program ended with 0, else the last other status.
    pub(crate) exit: i32,
    /// What the programs printed.
    pub(crate) output: String,
    /// Lines of the file that the programs found in [`SEEN`], if they wrote one.
    pub(crate) seen: Vec<String>,
    /// From the start of QEMU to the guest's shell.
    pub(crate) boot: Duration,
    /// From the guest's shell to its last program's end.
    pub(crate) run: Duration,
    /// The whole serial console.
    pub(crate) log: PathBuf,
}

/// Boots the newest kernel of `series` (see [`series_names`]) and runs `binaries` in order, as root.
///
/// Needs [`crate::packages::VIRTUAL_MACHINES`].
///
/// # Errors
/// No kernel can be had, the guest never reached its shell (tried twice), or it did not end
/// within the limit. A program that fails is no error: see [`GuestReport::exit`].
pub(crate) fn run(series: &str, binaries: &[Binary], clock: Clock) -> Result<GuestReport> {
    let lock = workspace::target_dir("vm")?.join(format!("{series}.lock"));
    let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    // Held until the guest has ended: two runs in one checkout would share its files.
    lock.lock().context("cannot lock the guest's files")?;
    let kernel = kernel::obtain(series)?;
    let initramfs = initramfs::build(&kernel, binaries)?;
    qemu::run(&kernel, &initramfs, clock)
}
