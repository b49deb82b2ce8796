//! The Debian package: binary, systemd unit, manual pages, completions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{LIMIT, VERSION, git, tree};
use crate::{proc, workspace};

/// Files as they are: from, to, mode.
const FILES: [(&str, &str, u32); 8] = [
    (
        "deploy/deb/tracer.service",
        "lib/systemd/system/tracer.service",
        0o644,
    ),
    ("deploy/deb/default", "etc/default/tracer", 0o644),
    (
        "deploy/deb/copyright",
        "usr/share/doc/tracer/copyright",
        0o644,
    ),
    ("LICENSE-MIT", "usr/share/doc/tracer/LICENSE-MIT", 0o644),
    ("README.md", "usr/share/doc/tracer/README.md", 0o644),
    ("deploy/deb/postinst", "DEBIAN/postinst", 0o755),
    ("deploy/deb/prerm", "DEBIAN/prerm", 0o755),
    ("deploy/deb/postrm", "DEBIAN/postrm", 0o755),
];
/// Shells and where Debian looks for their completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/tracer"),
    ("zsh", "usr/share/zsh/vendor-completions/_tracer"),
    ("fish", "usr/share/fish/vendor_completions.d/tracer.fish"),
];

/// Commands of `tracer`, each with a manual page; `tests/deploy` holds them to its help.
const COMMANDS: [&str; 9] = [
    "run",
    "top",
    "explain",
    "events",
    "replay",
    "check",
    "health",
    "completions",
    "man",
];

/// Packs `binary`, which has to be static, into `target/deb/tracer_VERSION_amd64.deb`.
///
/// # Errors
/// The binary does not run, or dpkg-deb is missing.
pub(crate) fn package(binary: &Path) -> Result<PathBuf> {
    let dir = tree::fresh("deb")?;
    let root = dir.join("root");
    tree::copy(binary, &root.join("usr/bin/tracer"), 0o755)?;
    for (from, to, mode) in FILES {
        tree::copy(&workspace::root().join(from), &root.join(to), mode)?;
    }
    for (shell, to) in COMPLETIONS {
        let text = proc::output(workspace::command(binary).args(["completions", shell]))?;
        tree::write(&root.join(to), text.as_bytes(), 0o644)?;
    }
    manuals(binary, &root)?;
    let log = root.join("usr/share/doc/tracer/changelog");
    tree::copy(&workspace::root().join("CHANGELOG.md"), &log, 0o644)?;
    compress(&log)?;
    tree::write(
        &root.join("DEBIAN/conffiles"),
        b"/etc/default/tracer\n",
        0o644,
    )?;
    let control = control(size_kib(&root)?);
    tree::write(&root.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    let package = dir.join(format!("tracer_{VERSION}_amd64.deb"));
    let mut dpkg = workspace::command("dpkg-deb");
    dpkg.env("SOURCE_DATE_EPOCH", git(&["log", "-1", "--format=%ct"])?);
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]);
    proc::must(
        "Debian package",
        {
            dpkg.arg(&root).arg(&package);
            dpkg
        },
        LIMIT,
    )?;
    Ok(package)
}

/// A page for `tracer` and one for each of its commands, which that of `tracer` refers to.
fn manuals(binary: &Path, root: &Path) -> Result<()> {
    for command in std::iter::once(None).chain(COMMANDS.map(Some)) {
        let manual = proc::output(workspace::command(binary).arg("man").args(command))?;
        let name = command.map_or("tracer".to_owned(), |command| format!("tracer-{command}"));
        let page = root.join(format!("usr/share/man/man1/{name}.1"));
        tree::write(&page, manual.as_bytes(), 0o644)?;
        compress(&page)?;
    }
    Ok(())
}

/// `gzip -9n`, as Debian's policy wants it.
fn compress(path: &Path) -> Result<()> {
    proc::output(workspace::command("gzip").arg("-9nf").arg(path)).map(drop)
}

fn control(size_kib: u64) -> String {
    format!(
        "Package: tracer\n\
         Version: {VERSION}\n\
         Architecture: amd64\n\
         Maintainer: the authors of tracer <tracer@localhost>\n\
         Installed-Size: {size_kib}\n\
         Section: net\n\
         Priority: optional\n\
         Description: eBPF tracer of TCP handshakes at NodePorts\n \
         Counts each TCP handshake at each Kubernetes NodePort of this machine, how it\n \
         ended and what it was for, and serves that to Prometheus. One static binary,\n \
         Linux 5.10 or newer with BTF.\n"
    )
}

fn size_kib(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            size_kib(&entry.path())?
        } else {
            meta.len().div_ceil(1024)
        };
    }
    Ok(bytes)
}
