//! Real Kubernetes programs for `cargo xtask test --kubernetes`, kept in `target/tools/kubernetes`.
//!
//! Nobody packages kube-apiserver and kube-proxy, but Debian has their sources: they are built
//! once. etcd, kubectl and the Go compiler are unpacked from Debian's packages, not installed: an
//! installed etcd would start as a service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::{proc, workspace};

/// The release whose packages are taken: the last with a source package that has the server.
const SUITES: &[&str] = &["bookworm", "bookworm-security"];
const SOURCE: &str = "kubernetes";
/// What that package holds; its own version is 1.20.5+really1.20.2.
const VERSION: &str = "v1.20.2";
const GO: &[&str] = &[
    "golang-1.19-go",
    "golang-1.19-src",
    "golang-github-modern-go-reflect2-dev",
];
const READY_MADE: &[&str] = &["etcd-server", "kubernetes-client"];
/// What the tests run.
const PROGRAMS: [&str; 4] = ["etcd", "kubectl", "kube-apiserver", "kube-proxy"];
/// Limit of the build: ten minutes of two CPUs that have nothing else to do.
const LIMIT: Duration = Duration::from_secs(5400);

/// The directory with the programs, which are fetched and built if missing.
///
/// # Errors
/// Debian cannot be reached, or the build fails; the end of its log has been shown.
pub(crate) fn ensure() -> Result<PathBuf> {
    let dir = workspace::target_dir("tools/kubernetes")?;
    if PROGRAMS.iter().all(|program| dir.join(program).is_file()) {
        return Ok(dir);
    }
    eprintln!(
        "building kube-apiserver and kube-proxy {VERSION} from Debian's source package: about ten \
         minutes, once, kept in {}",
        dir.display()
    );
    let work = workspace::target_dir("tools/kubernetes-build")?;
    let root = work.join("root");
    let apt = Apt::update_with_sources("bookworm-sources", SUITES)?;
    unpack(&apt, &work, &root)?;
    for program in ["etcd", "kubectl"] {
        fs::copy(root.join("usr/bin").join(program), dir.join(program))
            .with_context(|| format!("no {program} in {}", READY_MADE.join(", ")))?;
    }
    let source = source(&apt, &work)?;
    build(&root, &source, &dir)?;
    // Two gigabytes that nothing uses any more.
    fs::remove_dir_all(&work).context("cannot remove the build directory of Kubernetes")?;
    Ok(dir)
}

/// Unpacks the binary packages into `root`.
fn unpack(apt: &Apt, work: &Path, root: &Path) -> Result<()> {
    let packages: Vec<String> = GO
        .iter()
        .chain(READY_MADE)
        .map(ToString::to_string)
        .collect();
    let debs = emptied(&work.join("debs"))?;
    if !apt.download(&packages, &debs)? {
        bail!("{} cannot be had", packages.join(", "));
    }
    for deb in fs::read_dir(&debs)? {
        proc::output(Command::new("dpkg").arg("-x").arg(deb?.path()).arg(root))?;
    }
    Ok(())
}

/// The unpacked source package, where a GOPATH has it.
fn source(apt: &Apt, work: &Path) -> Result<PathBuf> {
    let fetched = emptied(&work.join("source"))?;
    apt.source(SOURCE, &fetched)?;
    let parent = emptied(&work.join("gopath/src/k8s.io"))?;
    let unpacked = fs::read_dir(&fetched)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.is_dir())
        .with_context(|| format!("no source tree in {}", fetched.display()))?;
    let source = parent.join("kubernetes");
    fs::rename(unpacked, &source).context("cannot move the source tree")?;
    Ok(source)
}

fn build(root: &Path, source: &Path, output: &Path) -> Result<()> {
    let mut script = workspace::command("sh");
    script
        .arg(workspace::root().join("xtask/src/kubernetes/build.sh"))
        .arg(root.join("usr/lib/go-1.19"))
        .arg(source)
        .arg(root.join("usr/share/gocode/src/github.com/modern-go/reflect2"))
        .arg(VERSION)
        .arg(output);
    proc::must("build kube-apiserver and kube-proxy", script, LIMIT)?;
    Ok(())
}

fn emptied(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.to_owned())
}
