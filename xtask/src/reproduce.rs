//! Whether the kernel object that a binary carries comes out of these sources, wherever they lie:
//! it is built once more, by the same build script, from a copy of the checkout.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{artifacts, proc, workspace};

/// Limit of the build.
const LIMIT: Duration = Duration::from_secs(600);

/// Builds the object in another place and looks for it in `binary`. Returns its size in bytes.
///
/// # Errors
/// The build fails, or `binary` carries other bytes.
pub(crate) fn kernel_object(binary: &Path) -> Result<usize> {
    let elsewhere = workspace::target("reproduce/another-place");
    if elsewhere.exists() {
        fs::remove_dir_all(&elsewhere).with_context(|| format!("empty {}", elsewhere.display()))?;
    }
    copy(&elsewhere.join("checkout"))?;
    let out = elsewhere.join("out");
    fs::create_dir_all(&out)?;
    let script = build_script(&elsewhere.join("checkout/tracer"), &out)?;
    proc::must("kernel object, elsewhere", script, LIMIT)?;
    let path = out.join("tracer-ebpf");
    let object = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let carried = fs::read(binary).with_context(|| format!("read {}", binary.display()))?;
    ensure!(
        !object.is_empty() && carried.windows(object.len()).any(|part| part == object),
        "{} carries another kernel object than {}, built from a copy of the sources",
        binary.display(),
        path.display()
    );
    Ok(object.len())
}

/// The build script of `tracer`, as cargo runs it, in `package`.
fn build_script(package: &Path, out: &Path) -> Result<Command> {
    let mut script = workspace::command(artifacts::build_script()?);
    script
        .current_dir(package)
        .env("CARGO_MANIFEST_DIR", package)
        .env("OUT_DIR", out)
        .env("PROFILE", "release")
        .env("CARGO_CFG_TARGET_ARCH", "x86_64")
        .env("CARGO_CFG_TARGET_ENDIAN", "little");
    Ok(script)
}

/// Copies what git knows of the checkout, as it is now.
fn copy(to: &Path) -> Result<()> {
    let mut git = workspace::command("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    for name in proc::output(&mut git)?.split_terminator('\0') {
        let from = workspace::root().join(name);
        // Neither what is deleted, nor links: sources have none.
        if !from.is_file() || from.is_symlink() {
            continue;
        }
        let to = to.join(name);
        fs::create_dir_all(to.parent().context("a file without a directory")?)?;
        fs::copy(&from, &to).with_context(|| format!("copy {name}"))?;
    }
    Ok(())
}
