//! Packages of npm: Grafana's schema and a TypeScript compiler, for the dashboards.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{LIMIT, announce, missing};
use crate::{proc, workspace};

/// Where the packages are named and locked, below the root.
const LOCKED: &str = "tests/deploy/grafana";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
const WHY: &str = "checks the dashboards with Grafana's schema";

/// The directory that holds `node_modules`, made if missing or stale; else the line that says
/// what is missing.
pub(super) fn ensure_modules() -> Result<Result<PathBuf, String>> {
    let dir = workspace::target_dir("tools/node")?;
    let locked = workspace::root().join(LOCKED);
    let read = |path: PathBuf| fs::read(&path).with_context(|| format!("read {}", path.display()));
    // npm leaves this file when it has put everything there.
    let done = dir.join("node_modules/.package-lock.json");
    let current = |name: &&str| fs::read(dir.join(name)).ok() == read(locked.join(name)).ok();
    if done.is_file() && FILES.iter().all(current) {
        return Ok(Ok(dir));
    }
    announce(
        "@grafana/schema and typescript (npm)",
        &format!("{WHY}; kept in target/tools/node"),
    );
    for name in FILES {
        let path = dir.join(name);
        fs::write(&path, read(locked.join(name))?)
            .with_context(|| format!("write {}", path.display()))?;
    }
    let mut npm = workspace::command("npm");
    npm.current_dir(&dir)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    let installed = proc::step("npm ci", npm, LIMIT)?;
    if installed.success && done.is_file() {
        return Ok(Ok(dir));
    }
    installed.show_tail()?;
    let mend = format!("see target/logs, then in {}: npm ci", dir.display());
    Ok(Err(missing("packages of npm", WHY, &mend)))
}
