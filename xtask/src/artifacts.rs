//! The static binaries that tests, demo and bench run, and what they are built with.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::setup::MUSL;
use crate::{proc, workspace};

/// Limit of one build.
const LIMIT: Duration = Duration::from_secs(1500);

/// Builds the static release binary of tracer.
///
/// Needs [`crate::setup::Needs`] `bpf` and `musl`.
///
/// # Errors
/// The build fails; the end of its log has been shown.
pub(crate) fn tracer() -> Result<PathBuf> {
    proc::must("build tracer (static, release)", build_tracer(), LIMIT)?;
    let binary = workspace::target(MUSL).join("release/tracer");
    if !binary.is_file() {
        bail!(
            "cargo built no {}: has the binary of package tracer another name?",
            binary.display()
        );
    }
    Ok(binary)
}

/// Builds this program, static and with little effort, to be run in a guest.
///
/// # Errors
/// The build fails; the end of its log has been shown.
pub(crate) fn xtask() -> Result<PathBuf> {
    let mut cargo = workspace::cargo(&["build", "--release", "-p", "xtask", "--target", MUSL]);
    cargo
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true");
    proc::must("build xtask (static)", cargo, LIMIT)?;
    Ok(workspace::target(MUSL).join("release/xtask"))
}

fn build_tracer() -> Command {
    workspace::cargo(&["build", "--release", "-p", "tracer", "--target", MUSL])
}

/// The build script of that binary, which makes the kernel object. Needs the same.
///
/// # Errors
/// The build fails; the end of its log has been shown.
pub(crate) fn build_script() -> Result<PathBuf> {
    let mut cargo = build_tracer();
    cargo.arg("--message-format=json-render-diagnostics");
    let done = proc::must("build script of tracer", cargo, LIMIT)?;
    let source = workspace::root().join("tracer/build.rs");
    let messages = messages(&done.output()?)?;
    let script = messages.into_iter().find(|message| {
        let target = message.target.as_ref();
        target.is_some_and(|target| target.src_path == source)
    });
    let script = script.and_then(|message| message.filenames.into_iter().next());
    script.with_context(|| format!("cargo named no build script; see {}", done.log.display()))
}

/// A test executable.
#[derive(Clone, Debug)]
pub(crate) struct TestBinary {
    /// Name of the cargo target.
    pub(crate) name: String,
    /// Where cargo put it.
    pub(crate) path: PathBuf,
}

/// Builds the test executables of package `testbed`, static, without debug information.
///
/// # Errors
/// The build fails; the end of its log has been shown.
pub(crate) fn testbed() -> Result<Vec<TestBinary>> {
    let mut cargo = workspace::cargo(&["test", "--no-run", "-p", "testbed", "--target", MUSL]);
    cargo.arg("--message-format=json-render-diagnostics");
    // They travel in an initramfs, where every megabyte is unpacked by an emulated CPU.
    cargo
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "true");
    let done = proc::must("build testbed (static)", cargo, LIMIT)?;
    let binaries = executables(&done.output()?)?;
    if binaries.is_empty() {
        bail!(
            "package testbed has no test executable; see {}",
            done.log.display()
        );
    }
    Ok(binaries)
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    profile: Option<Profile>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    #[serde(default)]
    src_path: PathBuf,
}

/// Cargo's JSON messages, which may be mixed with other lines.
fn messages(log: &str) -> Result<Vec<Message>> {
    let json = log.lines().filter(|line| line.starts_with('{'));
    json.map(|line| serde_json::from_str(line).with_context(|| format!("cargo's message: {line}")))
        .collect()
}

/// Test executables among cargo's messages.
fn executables(log: &str) -> Result<Vec<TestBinary>> {
    let tests = messages(log)?.into_iter().filter(|message| {
        let test = message.profile.as_ref().is_some_and(|profile| profile.test);
        test && message.reason == "compiler-artifact"
    });
    let found = tests.filter_map(|message| {
        Some(TestBinary {
            name: message.target?.name,
            path: message.executable?,
        })
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_test_executables_only() {
        let log = concat!(
            "   Compiling testbed v0.1.0\n",
            r#"{"reason":"compiler-artifact","target":{"name":"testbed"},"profile":{"test":false},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"outcomes"},"profile":{"test":true},"executable":"/x/outcomes-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        let found = executables(log).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "outcomes");
        assert_eq!(found[0].path, std::path::Path::new("/x/outcomes-1"));
    }
}
