//! The Debian package and its unit, in a container with a real systemd: a copy-on-write copy of
//! this machine's files, removed with everything that was done in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Netns, Proc, Tracer,
    cleanup::ScratchDir,
    http,
    process::{poll_until, run},
    tracer::LISTEN,
};

use super::{read, repository};

const UNIT: &str = "deploy/deb/tracer.service";
const LIMIT: Duration = Duration::from_secs(120);
/// What `systemd-analyze security` may count at most, in tenths; 10.0 is no protection at all.
/// SYS_ADMIN alone, and the node's network and processes, make most of it.
const EXPOSURE: &str = "40";

/// The package that `cargo xtask image` built last.
fn package() -> Result<PathBuf> {
    let dir = repository("target/deb");
    let entries = fs::read_dir(&dir)
        .with_context(|| format!("{}: cargo xtask image makes it", dir.display()))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let package = paths.find(|path| path.extension().is_some_and(|end| end == "deb"));
    package.with_context(|| format!("no package in {}", dir.display()))
}

#[test]
fn the_package_holds_what_it_should() -> Result<()> {
    let mut contents = Command::new("dpkg-deb");
    contents.arg("--contents").arg(package()?);
    let contents = run(contents, "")?;
    for path in [
        "usr/bin/tracer",
        "lib/systemd/system/tracer.service",
        "etc/default/tracer",
        "usr/share/bash-completion/completions/tracer",
        "usr/share/zsh/vendor-completions/_tracer",
        "usr/share/fish/vendor_completions.d/tracer.fish",
        "usr/share/doc/tracer/copyright",
        "usr/share/doc/tracer/changelog.gz",
    ] {
        let line = contents
            .lines()
            .find(|line| line.ends_with(&format!(" ./{path}")));
        let line = line.with_context(|| format!("no {path} in\n{contents}"))?;
        assert!(line.contains(" root/root "), "{line}");
        assert_eq!(
            line.starts_with("-rwxr-xr-x"),
            path == "usr/bin/tracer",
            "{line}"
        );
    }
    Ok(())
}

/// The page of `tracer` refers to one of each command.
#[test]
fn every_command_has_its_manual_page() -> Result<()> {
    let mut help = Command::new(Tracer::binary()?);
    let help = run(
        {
            help.arg("--help");
            help
        },
        "",
    )?;
    let (_, commands) = help.split_once("Commands:\n").context("no commands")?;
    let commands = commands.lines().take_while(|line| line.starts_with("  "));
    let names = commands.filter_map(|line| line.split_whitespace().next());
    let mut expected: BTreeSet<String> = names
        .filter(|name| *name != "help")
        .map(|name| format!("tracer-{name}"))
        .collect();
    assert!(expected.len() > 5, "{help}");
    expected.insert("tracer".to_owned());
    let dir = ScratchDir::new()?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--extract").arg(package()?).arg(dir.path());
    run(unpack, "")?;
    let pages = dir.path().join("usr/share/man/man1");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&pages)? {
        let path = entry?.path();
        let mut man = Command::new("man");
        man.args(["--local-file", "--warnings=w"]).arg(&path);
        let output = man
            .env("MANWIDTH", "80")
            .output()
            .context("is man installed?")?;
        let (shown, complaints) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let name = path.file_name().context("no name")?.to_string_lossy();
        let name = name.strip_suffix(".1.gz").context("not compressed")?;
        ensure!(
            output.status.success() && complaints.is_empty(),
            "{name}: {complaints}"
        );
        ensure!(shown.starts_with(&format!("{name}(1)")), "{shown}");
        ensure!(
            shown.contains("EXAMPLES") && shown.contains("SYNOPSIS"),
            "{shown}"
        );
        found.insert(name.to_owned());
    }
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn systemd_accepts_the_hardened_unit() -> Result<()> {
    // A program that is there stands for ours, which is not installed.
    let unit = read(UNIT)?.replace("/usr/bin/tracer", "/bin/true");
    let dir = ScratchDir::new()?;
    let unit = dir.write("tracer.service", &unit)?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&unit);
    let output = verify.output().context("is Debian's systemd installed?")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = complaints
        .lines()
        .filter(|l| l.contains("tracer.service"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{ours:?}");
    let mut security = Command::new("systemd-analyze");
    security
        .args(["security", "--offline=yes", "--threshold", EXPOSURE])
        .arg(&unit);
    run(security, "").map(drop)
}

/// This machine's files with a layer above them, and systemd running in them. The mounts are in a
/// namespace of their own: they vanish with the processes, however those end.
struct Machine {
    systemd: Proc,
    _dir: ScratchDir,
}

/// Mounts the layer at `$1`, then boots.
const BOOT: &str = "set -e; dir=$1; shift
mount -t tmpfs tmpfs $dir
mkdir $dir/upper $dir/work $dir/root
mount -t overlay overlay -o lowerdir=/,upperdir=$dir/upper,workdir=$dir/work $dir/root
rm -f $dir/root/etc/machine-id  # the machine's own would make it this machine
exec systemd-nspawn --directory=$dir/root \"$@\"";

impl Machine {
    fn boot(network: &Netns) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let mut nspawn = Command::new("unshare");
        nspawn
            .args(["--mount", "sh", "-c", BOOT, "sh"])
            .arg(dir.path());
        nspawn.args([
            "--boot",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
        ]);
        nspawn.args(["--console=pipe", "--capability=all"]);
        nspawn.arg(format!("--machine=tracer-{}", std::process::id()));
        nspawn.arg("--system-call-filter=bpf perf_event_open");
        nspawn.arg(format!(
            "--network-namespace-path=/run/netns/{}",
            network.name()
        ));
        let systemd = Proc::start(nspawn).context("start a container")?;
        let machine = Self { systemd, _dir: dir };
        poll_until(LIMIT, "systemd does not boot", || {
            Ok(machine.run(&["systemctl", "list-jobs"]).ok())
        })
        .with_context(|| {
            format!(
                "is systemd-container installed? {}",
                machine.systemd.stderr()
            )
        })?;
        Ok(machine)
    }

    /// A file inside.
    fn path(&self, path: &str) -> Result<PathBuf> {
        Ok(Path::new("/proc")
            .join(self.leader()?)
            .join("root")
            .join(path))
    }

    /// The first process inside.
    fn leader(&self) -> Result<String> {
        let pid = self.systemd.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let leader = children.split_whitespace().next();
        Ok(leader.context("nothing runs in the container")?.to_owned())
    }

    /// Runs a program inside, as root.
    fn run(&self, argv: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader()?, "--all"])
            .args(argv);
        run(command, "")
    }

    fn state(&self) -> Result<String> {
        let shown = self.run(&[
            "systemctl",
            "show",
            "-p",
            "ActiveState",
            "--value",
            "tracer",
        ])?;
        Ok(shown.trim().to_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.run(&["systemctl", "--force", "--force", "poweroff"]);
        let _ = self.systemd.wait(Duration::from_secs(20));
        self.systemd.kill();
    }
}

#[test]
fn the_package_installs_starts_stops_and_goes() -> Result<()> {
    let network = Netns::new("package")?;
    let machine = Machine::boot(&network)?;
    fs::copy(package()?, machine.path("root/tracer.deb")?)?;
    machine.run(&["dpkg", "--install", "/root/tracer.deb"])?;
    let ready = || http::get(&network, LISTEN, "/readyz", "*/*").is_ok_and(|r| r.status == 200);
    poll_until(LIMIT, "the installed daemon is not ready", || {
        Ok(ready().then_some(()))
    })
    .with_context(|| format!("{:?}", machine.run(&["systemctl", "status", "tracer"])))?;
    sandboxed(&machine)?;
    // Root asks the daemon, which is not root.
    let explained = machine.run(&["tracer", "explain", "--last", "5s"])?;
    ensure!(
        !explained.contains("watching for"),
        "it asked no daemon: {explained}"
    );
    machine.run(&["systemctl", "stop", "tracer"])?;
    ensure!(machine.state()? == "inactive" && !ready());
    machine.run(&["systemctl", "start", "tracer"])?;
    ensure!(machine.state()? == "active");
    machine.run(&["dpkg", "--remove", "tracer"])?;
    ensure!(machine.state()? == "inactive");
    let there = |path: &str| Ok::<bool, anyhow::Error>(machine.path(path)?.exists());
    ensure!(!there("usr/bin/tracer")? && there("etc/default/tracer")?);
    machine.run(&["dpkg", "--purge", "tracer"])?;
    ensure!(!there("etc/default/tracer")?);
    let wanted = machine.path("etc/systemd/system/multi-user.target.wants/tracer.service")?;
    ensure!(fs::symlink_metadata(wanted).is_err());
    Ok(())
}

/// The daemon has the rights that the unit names, and no others.
fn sandboxed(machine: &Machine) -> Result<()> {
    let pid = machine.run(&["systemctl", "show", "-p", "MainPID", "--value", "tracer"])?;
    let status = machine.run(&["cat", &format!("/proc/{}/status", pid.trim())])?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim_start_matches(':').trim().to_owned())
            .with_context(|| format!("no {name} in {status}"))
    };
    ensure!(!field("Uid")?.starts_with('0'), "it runs as root");
    ensure!(field("NoNewPrivs")? == "1");
    ensure!(field("Seccomp")? == "2");
    // SYSLOG 34, PERFMON 38, BPF 39, NET_ADMIN 12, NET_RAW 13, SYS_PTRACE 19, SYS_ADMIN 21.
    let allowed = [34, 38, 39, 12, 13, 19, 21]
        .iter()
        .fold(0_u64, |set, bit| set | 1 << bit);
    let bounding = u64::from_str_radix(&field("CapBnd")?, 16)?;
    ensure!(bounding == allowed, "CapBnd is {bounding:x}");
    let effective = u64::from_str_radix(&field("CapEff")?, 16)?;
    ensure!(effective & !allowed == 0, "CapEff is {effective:x}");
    Ok(())
}
