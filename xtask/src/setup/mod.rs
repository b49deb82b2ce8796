//! Installs what a verb needs and this machine lacks, after saying what and why.
//!
//! Detection comes first. What is missing is installed where that is possible (root and apt for
//! packages, rustup for parts of the toolchain, cargo for bpf-linker); the rest is reported with
//! one line per missing thing, the command that mends it, and exit status 69.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::{packages, workspace};

mod captures;
mod checkers;
mod debian;
mod node;
mod python;
mod rust;

pub(crate) use checkers::ensure as ensure_checkers;
pub(crate) use rust::{MUSL, has_rust_src};

/// A Debian package and how to see that it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    /// Name in Debian and Ubuntu.
    pub(crate) name: &'static str,
    /// What it is needed for, in a few words.
    pub(crate) why: &'static str,
    /// A command that it brings, or an absolute path.
    pub(crate) probe: &'static str,
}

/// What a verb needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// bpf-linker and rust-src: the kernel programs are built.
    pub(crate) bpf: bool,
    /// The standard library for static binaries.
    pub(crate) musl: bool,
    /// A Python environment with Apache Thrift.
    pub(crate) python: bool,
    /// What judges the crates that we build with; needs `python`.
    pub(crate) checkers: bool,
    /// cargo-fuzz.
    pub(crate) fuzz: bool,
    /// Public captures; needs `python`.
    pub(crate) captures: bool,
    /// Grafana's schema.
    pub(crate) node: bool,
    /// Debian packages.
    pub(crate) packages: &'static [&'static [Package]],
}

/// What [`ensure`] made sure of.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Interpreter of the Python environment, where it was asked for.
    pub(crate) python: Option<PathBuf>,
    /// Directory with captures, where they were asked for.
    pub(crate) captures: Option<PathBuf>,
    /// Directory with `node_modules`, where they were asked for.
    pub(crate) node: Option<PathBuf>,
    /// Directory with Kubernetes' programs, where they were built.
    pub(crate) kubernetes: Option<PathBuf>,
}

impl Tools {
    /// Directory of the Python environment, as `TRACER_VENV` of the test bed wants it.
    pub(crate) fn venv(&self) -> Option<&Path> {
        self.python.as_deref()?.parent()?.parent()
    }
}

/// Things that this machine lacks and that could not be installed: exit status 69.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) Vec<String>);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Unavailable {}

/// One missing thing: `missing WHAT (WHY): MEND`.
fn missing(what: &str, why: &str, mend: &str) -> String {
    format!("missing {what} ({why}): {mend}")
}

/// Limit of one installation step.
const LIMIT: Duration = Duration::from_secs(900);

/// Says on stderr what is about to be installed, and why.
fn announce(what: &str, why: &str) {
    eprintln!("installing {what}: {why}");
}

/// Whether this process may install packages and load kernel programs.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Fails unless this is root, with that line and one per missing package. `why` says what root is
/// needed for, `otherwise` what can be done without.
pub(crate) fn require_root(why: &str, otherwise: &str, packages: &[&[Package]]) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let packages = packages.concat();
    let mut lines = vec![missing("root", why, otherwise)];
    lines.extend(debian::absent(&packages).into_iter().map(debian::lacking));
    Err(Unavailable(lines).into())
}

/// Installs what `needs` names and this machine lacks.
///
/// # Errors
/// [`Unavailable`] with one line per thing that is still missing.
pub(crate) fn ensure(needs: &Needs) -> Result<Tools> {
    let mut lacking = Vec::new();
    lacking.extend(debian::ensure(&needs.packages.concat())?);
    if needs.python {
        lacking.extend(python::ensure_python()?);
    }
    if needs.bpf {
        lacking.extend(rust::ensure_component()?);
    }
    if needs.musl {
        lacking.extend(debian::ensure(packages::STATIC_BINARY)?);
        lacking.extend(rust::ensure_target()?);
    }
    if needs.bpf && lacking.is_empty() {
        lacking.extend(rust::ensure_bpf_linker()?);
    }
    if needs.fuzz && lacking.is_empty() {
        lacking.extend(rust::ensure_cargo_fuzz()?);
    }
    let mut tools = Tools {
        python: None,
        captures: None,
        node: None,
        kubernetes: None,
    };
    if needs.python && lacking.is_empty() {
        match python::ensure_venv()? {
            Ok(interpreter) => tools.python = Some(interpreter),
            Err(line) => lacking.push(line),
        }
    }
    if needs.checkers && lacking.is_empty() {
        lacking.extend(checkers::ensure()?.err());
    }
    if let Some(python) = tools.python.as_deref().filter(|_| needs.captures) {
        match captures::ensure(python)? {
            Ok(dir) => tools.captures = Some(dir),
            Err(line) => lacking.push(line),
        }
    }
    if needs.node && lacking.is_empty() {
        match node::ensure_modules()? {
            Ok(dir) => tools.node = Some(dir),
            Err(line) => lacking.push(line),
        }
    }
    if lacking.is_empty() {
        Ok(tools)
    } else {
        Err(Unavailable(lacking).into())
    }
}

/// Whether `probe` (a command or an absolute path) is there.
fn present(probe: &str) -> bool {
    if probe.starts_with('/') {
        return PathBuf::from(probe).exists();
    }
    workspace::find_command(probe).is_some()
}
