//! Parts of the pinned Rust toolchain, and bpf-linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{LIMIT, announce, missing};
use crate::{proc, workspace};

/// Version of bpf-linker that the kernel programs are linked with.
const BPF_LINKER: &str = "0.10.3";
/// Version of cargo-fuzz.
const CARGO_FUZZ: &str = "0.13.2";
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
    install("bpf-linker", BPF_LINKER, "links the kernel programs")?;
    let there = bpf_linker_version().is_some_and(|version| version == BPF_LINKER);
    Ok((!there).then(|| lacking("bpf-linker", BPF_LINKER, "links the kernel programs")))
}

/// cargo-fuzz, kept under `target/tools`.
pub(super) fn ensure_cargo_fuzz() -> Result<Option<String>> {
    let there = || workspace::find_command("cargo-fuzz").is_some();
    let why = "runs the fuzz targets";
    if !there() {
        install("cargo-fuzz", CARGO_FUZZ, why)?;
    }
    Ok((!there()).then(|| lacking("cargo-fuzz", CARGO_FUZZ, why)))
}

fn lacking(tool: &str, version: &str, why: &str) -> String {
    let root = workspace::target("tools").display().to_string();
    let mend = format!(
        "run in this directory: cargo install {tool} --version {version} --locked --force --root {root}"
    );
    missing(&format!("{tool} {version}"), why, &mend)
}

fn install(tool: &str, version: &str, why: &str) -> Result<()> {
    announce(
        &format!("{tool} {version}"),
        &format!("{why}; about two minutes, once, kept in target/tools"),
    );
    let root = workspace::target_dir("tools")?.display().to_string();
    let mut install = workspace::cargo(&["install", tool, "--version", version]);
    install.args(["--locked", "--force", "--root", &root]);
    // Its own build directory: the project's would be rebuilt for its other settings.
    let build = workspace::target("tools/build");
    install.env("CARGO_TARGET_DIR", &build);
    let done = proc::step(&format!("cargo install {tool}"), install, LIMIT)?;
    if !done.success {
        return done.show_tail();
    }
    // Hundreds of megabytes that nothing uses any more.
    fs::remove_dir_all(build).with_context(|| format!("remove the build directory of {tool}"))
}

/// Version of the bpf-linker that comes first in the search path.
fn bpf_linker_version() -> Option<String> {
    let linker = workspace::find_command("bpf-linker")?;
    let version = proc::output(Command::new(linker).arg("--version")).ok()?;
    version.split_whitespace().nth(1).map(str::to_owned)
}
