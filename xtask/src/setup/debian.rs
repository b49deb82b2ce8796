//! Debian packages by apt-get.

use anyhow::Result;

use super::{LIMIT, Package, announce, is_root, missing, present};
use crate::{proc, workspace};

/// Installs those of `packages` whose probe fails; returns a line for each that is still missing.
pub(super) fn ensure(packages: &[Package]) -> Result<Vec<String>> {
    let wanted = absent(packages);
    if !wanted.is_empty() {
        install(&wanted)?;
    }
    Ok(wanted
        .into_iter()
        .filter(|package| !present(package.probe))
        .map(lacking)
        .collect())
}

/// Those of `packages` whose probe fails.
pub(super) fn absent(packages: &[Package]) -> Vec<&Package> {
    packages
        .iter()
        .filter(|package| !present(package.probe))
        .collect()
}

/// The line that says how to mend the lack of `package`.
pub(super) fn lacking(package: &Package) -> String {
    let mend = if present("apt-get") {
        format!("run as root: apt-get install -y {}", package.name)
    } else {
        format!("install what brings {} on this system", package.probe)
    };
    missing(package.name, package.why, &mend)
}

/// Installs `packages`, if this is root on a system with apt; the caller probes afterwards.
pub(super) fn install(packages: &[&Package]) -> Result<()> {
    if !is_root() || !present("apt-get") {
        return Ok(());
    }
    for package in packages {
        announce(package.name, package.why);
    }
    // A third-party source that does not answer must not stop Debian's own: the installation
    // below, and the probes after it, decide.
    let update = proc::step("apt-get update", apt_get(&["update"]), LIMIT)?;
    if !update.success {
        update.show_tail()?;
    }
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(packages.iter().map(|package| package.name));
    let installed = proc::step("apt-get install", apt_get(&args), LIMIT)?;
    if !installed.success {
        installed.show_tail()?;
    }
    Ok(())
}

fn apt_get(args: &[&str]) -> std::process::Command {
    let mut apt = workspace::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args([
            "-o",
            "Dpkg::Options::=--force-confold",
            "-o",
            "DPkg::Lock::Timeout=300",
        ])
        .args(args);
    apt
}
