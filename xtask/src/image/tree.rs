//! Directories of files that are packed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace;

/// `target/NAME`, empty.
pub(super) fn fresh(name: &str) -> Result<PathBuf> {
    let dir = workspace::target(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("empty {}", dir.display()))?;
    }
    workspace::target_dir(name)
}

/// Copies a file, making its directory.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    write(to, &bytes, mode)
}

/// Writes a file with this mode, making its directory.
pub(super) fn write(to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let name = || format!("write {}", to.display());
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(name)?;
    }
    fs::write(to, bytes).with_context(name)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(name)
}
