//! The guest's initramfs: tools of this machine, modules of the kernel, and the programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use super::{Binary, SEEN, SEEN_MARK, modules};
use crate::{proc, workspace};

/// Tools of this machine that the guest gets; the others are busybox applets. Debian's busybox
/// sh would run its own `ip`, hence dash.
const TOOLS: &[&str] = &[
    "busybox",
    "dash",
    "ip",
    "ss",
    "tc",
    "bridge",
    "nstat",
    "nft",
    "xtables-nft-multi",
    "xtables-legacy-multi",
    "conntrack",
    "ipvsadm",
];
/// Of these tools, the ones that a guest can do without.
const OPTIONAL_TOOLS: &[&str] = &["conntrack"];
/// Names under which the two multi-call binaries of iptables are called.
const XTABLES: &[&str] = &["iptables", "ip6tables"];
const INIT: &str = include_str!("init.sh");

/// Builds the initramfs: three cpio archives one after the other.
pub(super) fn build(kernel: &Kernel, binaries: &[Binary]) -> Result<PathBuf> {
    let all = kernel.dir.join("all.cpio");
    let mut file = File::create(&all).with_context(|| format!("cannot write {}", all.display()))?;
    part(kernel, "base", &mut file, stage_base)?;
    part(kernel, "mods", &mut file, |root| {
        modules::stage(kernel, root)
    })?;
    part(kernel, "tests", &mut file, |root| {
        stage_tests(root, binaries)
    })?;
    Ok(all)
}

/// Appends one archive to `all`.
fn part(
    kernel: &Kernel,
    name: &str,
    all: &mut File,
    stage: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let root = kernel.dir.join(name);
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    stage(&root).with_context(|| format!("initramfs, part {name}"))?;
    let archive = kernel.dir.join(format!("{name}.cpio"));
    pack(&root, &archive)?;
    io::copy(&mut File::open(&archive)?, all)?;
    fs::remove_file(&archive)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// Packs what is under `root` in the "newc" format, owned by root.
fn pack(root: &Path, archive: &Path) -> Result<()> {
    let script = "find . -mindepth 1 -print0 | sort -z | cpio --null --create --quiet \
                  --format=newc --owner=0:0 --file=\"$1\"";
    let mut shell = workspace::command("sh");
    shell
        .current_dir(root)
        .args(["-c", script, "sh"])
        .arg(archive);
    proc::output(&mut shell).map(drop)
}

fn stage_base(root: &Path) -> Result<()> {
    for dir in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "root"] {
        fs::create_dir_all(root.join(dir))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link))?;
    }
    let mut libraries = BTreeSet::new();
    for tool in TOOLS {
        let Some(path) = workspace::find_command(tool) else {
            if OPTIONAL_TOOLS.contains(tool) {
                continue;
            }
            bail!("missing tool {tool}");
        };
        fs::copy(&path, root.join("usr/bin").join(tool))?;
        libraries.extend(shared_libraries(&path)?);
    }
    for library in &libraries {
        copy_inside(library, root)?;
    }
    for plugin in xtables_plugins()? {
        copy_inside(&plugin, root)?;
    }
    for (variant, multi) in [
        ("", "xtables-nft-multi"),
        ("-nft", "xtables-nft-multi"),
        ("-legacy", "xtables-legacy-multi"),
    ] {
        for (tool, verb) in XTABLES
            .iter()
            .flat_map(|tool| ["", "-save", "-restore"].map(|verb| (tool, verb)))
        {
            symlink(
                format!("../bin/{multi}"),
                root.join(format!("usr/sbin/{tool}{variant}{verb}")),
            )?;
        }
    }
    symlink("dash", root.join("usr/bin/sh"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    executable(&root.join("init"), INIT)
}

/// Shared libraries of an executable, by absolute path; none for a static one.
fn shared_libraries(executable: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(executable)
        .output()
        .context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        bail!("{}: {}", executable.display(), line.trim());
    }
    let absolute = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    Ok(text.lines().filter_map(absolute).collect())
}

/// Extensions that iptables loads by name.
fn xtables_plugins() -> Result<Vec<PathBuf>> {
    let libraries = fs::read_dir("/usr/lib")
        .context("cannot read /usr/lib")?
        .flatten();
    let dirs = libraries
        .map(|entry| entry.path().join("xtables"))
        .filter(|dir| dir.is_dir());
    let mut plugins = Vec::new();
    for dir in dirs {
        plugins.extend(fs::read_dir(dir)?.flatten().map(|entry| entry.path()));
    }
    Ok(plugins)
}

/// Copies an absolute path to the same place under `root`; links become what they point to.
fn copy_inside(path: &Path, root: &Path) -> Result<()> {
    let target = root.join(path.strip_prefix("/").unwrap_or(path));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
    Ok(())
}

fn stage_tests(root: &Path, binaries: &[Binary]) -> Result<()> {
    let dir = root.join("tests");
    fs::create_dir_all(&dir)?;
    for binary in binaries {
        let target = dir.join(guest_name(binary)?);
        // A program may be run more than once, with other arguments.
        if !target.exists() {
            fs::copy(&binary.path, &target)
                .with_context(|| format!("cannot copy {}", binary.path.display()))?;
        }
    }
    executable(&root.join("run-tests.sh"), &script(binaries)?)
}

pub(super) fn guest_name(binary: &Binary) -> Result<String> {
    let name = binary
        .path
        .file_name()
        .with_context(|| binary.path.display().to_string())?;
    Ok(name.to_string_lossy().into_owned())
}

/// Runs every program in order, then shows what they left; the status is the last one that is
/// not 0.
fn script(binaries: &[Binary]) -> Result<String> {
    let mut script = String::from("cd /tests\nstatus=0\n");
    for binary in binaries.iter().filter(|binary| binary.run) {
        let name = quote(&guest_name(binary)?);
        let env: Vec<String> = binary
            .env
            .iter()
            .map(|(key, value)| format!("{key}={}", quote(value)))
            .collect();
        let args: Vec<String> = binary.args.iter().map(|arg| quote(arg)).collect();
        writeln!(
            script,
            "env {} ./{name} {} 2>&1 || {{ status=$?; echo {name}: status $status; }}",
            env.join(" "),
            args.join(" ")
        )?;
    }
    let (_, seen) = SEEN;
    writeln!(
        script,
        "[ ! -e {seen} ] || sed 's/^/{SEEN_MARK}/' {seen}\nexit $status"
    )?;
    Ok(script)
}

/// One word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_quotes_and_keeps_the_status() {
        let program = Binary {
            path: PathBuf::from("/x/prog"),
            args: vec!["it's".to_owned()],
            env: vec![("A".to_owned(), "b c".to_owned())],
            run: true,
        };
        let script = script(&[Binary::file(PathBuf::from("/x/data")), program]).unwrap();
        assert!(
            script.contains(r"env A='b c' ./'prog' 'it'\''s' 2>&1 || { status=$?"),
            "{script}"
        );
        assert!(!script.contains("data"), "{script}");
        assert!(script.ends_with("exit $status\n"), "{script}");
    }
}
