//! Where things are in the checkout, and how cargo is called in it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

/// Root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or(manifest.clone(), Path::to_path_buf)
}

/// `target/PART` of the checkout, whatever `CARGO_TARGET_DIR` says: every cache lives here.
pub(crate) fn target(part: &str) -> PathBuf {
    root().join("target").join(part)
}

/// [`target`] as a directory that exists.
pub(crate) fn target_dir(part: &str) -> Result<PathBuf> {
    let dir = target(part);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// `PATH` for the tools this project uses: its own ones first, system ones even where the
/// user's `PATH` lacks the sbin directories.
pub(crate) fn search_path() -> OsString {
    let own = target("tools/bin");
    let inherited = env::var_os("PATH").unwrap_or_default();
    let known: Vec<PathBuf> = env::split_paths(&inherited)
        .filter(|dir| *dir != own)
        .collect();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"]
        .map(PathBuf::from)
        .into_iter()
        .filter(|dir| !known.contains(dir));
    let all = std::iter::once(own.clone())
        .chain(known.iter().cloned())
        .chain(system);
    env::join_paths(all).unwrap_or(inherited)
}

/// The executable that `command` names in [`search_path`].
pub(crate) fn find_command(command: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|dir| dir.join(command))
        .find(|path| path.is_file())
}

/// A command in the root of the checkout with [`search_path`].
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("PATH", search_path());
    command
}

/// `cargo ARGS…` in the root of the checkout. The variables that `cargo run` sets for xtask are
/// taken out again, so that nothing is rebuilt because of them.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cargo = command("cargo");
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&key);
        }
    }
    cargo
        .env("CARGO_TARGET_DIR", root().join("target"))
        .args(args);
    cargo
}
