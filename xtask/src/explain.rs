//! `tracer explain`, asked of a daemon in a namespace.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Netns, Tracer};

/// The command promises an answer within 2 s.
const LIMIT: Duration = Duration::from_secs(10);
/// Its exit status when it has found a problem.
const PROBLEM: i32 = 3;

/// What `BINARY explain ARGS` prints about the daemon `tracer` in `node`.
///
/// # Errors
/// It does not end in time, or with another status than these for no problem and a problem.
pub(crate) fn explain(
    node: &Netns,
    binary: &Path,
    tracer: &Tracer<'_>,
    args: &[&str],
) -> Result<String> {
    let mut command = node.command(binary)?;
    command.args(["explain", "--socket"]).arg(tracer.socket());
    command.args(args);
    let mut process = node.spawn(command)?;
    let status = process.wait(LIMIT).context("tracer explain")?;
    ensure!(
        matches!(status.code(), Some(0 | PROBLEM)),
        "tracer explain: {status}: {}",
        process.stderr()
    );
    Ok(process.stdout())
}
