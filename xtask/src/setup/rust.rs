//! Parts of the pinned Rust toolchain, and bpf-linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{LIMIT, announce, missing};
use crate::{proc, workspace};

/// Version of bpf-linker that the kernel programs are linked with.
const BPF_LINKER: &str = "0.10.3";
/// Target of the static binaries.
pub(crate) const MUSL: &str = "x86_64-unknown-linux-musl";

fn sysroot() -> Result<PathBuf> {
    let sysroot = proc::output(workspace::command("rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(sysroot.trim()))
}

/// A file that rust-src brings.
fn rust_src() -> Result<PathBuf> {
    Ok(sysroot()?.join("lib/rustlib/src/rust/library/core/Cargo.toml"))
}

/// Whether `core` can be built for the BPF target.
pub(crate) fn has_rust_src() -> Result<bool> {
    Ok(rust_src()?.exists())
}

/// rust-src, which the BPF target's `core` is built from.
pub(super) fn ensure_component() -> Result<Option<String>> {
    let why = "builds core for the kernel programs";
    rustup(
        "rust-src",
        why,
        &rust_src()?,
        &["component", "add", "rust-src"],
    )
}

/// The standard library of the static target.
pub(super) fn ensure_target() -> Result<Option<String>> {
    let probe = sysroot()?.join("lib/rustlib").join(MUSL);
    rustup(
        MUSL,
        "links the static binary",
        &probe,
        &["target", "add", MUSL],
    )
}

fn rustup(what: &str, why: &str, probe: &Path, args: &[&str]) -> Result<Option<String>> {
    if probe.exists() {
        return Ok(None);
    }
    if workspace::find_command("rustup").is_some() {
        announce(what, why);
        let mut rustup = workspace::command("rustup");
        rustup.args(args);
        let done = proc::step(&format!("rustup {}", args.join(" ")), rustup, LIMIT)?;
        if !done.success {
            done.show_tail()?;
        }
    }
    let mend = format!("run in this directory: rustup {}", args.join(" "));
    Ok((!probe.exists()).then(|| missing(what, why, &mend)))
}

/// bpf-linker of the pinned version: ours under `target/tools`, else the one in `PATH`.
pub(super) fn ensure_bpf_linker() -> Result<Option<String>> {
    if bpf_linker_version().is_some_and(|version| version == BPF_LINKER) {
        return Ok(None);
    }
    let what = format!("bpf-linker {BPF_LINKER}");
    let why = "links the kernel programs";
    announce(
        &what,
        &format!("{why}; about two minutes, once, kept in target/tools"),
    );
    let root = workspace::target_dir("tools")?.display().to_string();
    let args = [
        "install",
        "bpf-linker",
        "--version",
        BPF_LINKER,
        "--locked",
        "--force",
        "--root",
        &root,
    ];
    let mut install = workspace::cargo(&args);
    // Its own build directory: the project's would be rebuilt for its other settings.
    let build = workspace::target("tools/build");
    install.env("CARGO_TARGET_DIR", &build);
    let done = proc::step("cargo install bpf-linker", install, LIMIT)?;
    if done.success {
        // 350 MB that nothing uses any more.
        fs::remove_dir_all(build).context("cannot remove bpf-linker's build directory")?;
    } else {
        done.show_tail()?;
    }
    let mend = format!("run in this directory: cargo {}", args.join(" "));
    let there = bpf_linker_version().is_some_and(|version| version == BPF_LINKER);
    Ok((!there).then(|| missing(&what, why, &mend)))
}

/// Version of the bpf-linker that comes first in the search path.
fn bpf_linker_version() -> Option<String> {
    let linker = workspace::find_command("bpf-linker")?;
    let version = proc::output(Command::new(linker).arg("--version")).ok()?;
    version.split_whitespace().nth(1).map(str::to_owned)
}
