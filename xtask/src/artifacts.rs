//! The static binaries that tests, demo and bench run.

use std::path::PathBuf;
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
    let cargo = workspace::cargo(&["build", "--release", "-p", "tracer", "--target", MUSL]);
    proc::must("build tracer (static, release)", cargo, LIMIT)?;
    let binary = workspace::target(MUSL).join("release/tracer");
    if !binary.is_file() {
        bail!(
            "cargo built no {}: has the binary of package tracer another name?",
            binary.display()
        );
    }
    Ok(binary)
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
}

/// Test executables among cargo's JSON messages, which may be mixed with other lines.
fn executables(log: &str) -> Result<Vec<TestBinary>> {
    let mut binaries = Vec::new();
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("cargo's message: {line}"))?;
        let is_test = message.profile.is_some_and(|profile| profile.test);
        if message.reason != "compiler-artifact" || !is_test {
            continue;
        }
        if let (Some(path), Some(target)) = (message.executable, message.target) {
            binaries.push(TestBinary {
                name: target.name,
                path,
            });
        }
    }
    Ok(binaries)
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
