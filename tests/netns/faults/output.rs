//! Nowhere to write to: full disks, closed or broken outputs.

use std::{
    fs::OpenOptions,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use testbed::{
    Topology, Tracer, addr::NODE_V4, cleanup::ScratchDir, http, leftovers::nothing_attached,
    peer::Dial, process::poll_until, tracer::LISTEN,
};

const PORTS: &str = "31525-31526";
const CLOSED: u16 = 31525;
const LIMIT: Duration = Duration::from_secs(60);

fn tracer(bed: &Topology) -> Result<Command> {
    let mut command = bed.node.command(Tracer::binary()?)?;
    command.args(["run", "--node-ports", PORTS, "--log.level", "debug"]);
    command.args(["--web.listen-address", &LISTEN.to_string()]);
    Ok(command)
}

/// It becomes ready, counts, and ends in order, whatever its outputs are worth.
fn works(bed: &Topology, mut command: Command) -> Result<()> {
    command.args(["--socket", "none"]);
    let get = |path| http::get(&bed.node, LISTEN, path, "text/plain;version=0.0.4");
    let mut child = command.spawn().context("start tracer")?;
    let run = || -> Result<()> {
        poll_until(LIMIT, "not ready", || {
            Ok(get("/readyz").is_ok_and(|r| r.status == 200).then_some(()))
        })?;
        for _ in 0..5 {
            ensure!(
                Dial::new(&bed.client, (NODE_V4, CLOSED))
                    .connect()?
                    .is_err()
            );
        }
        poll_until(LIMIT, "not counted", || {
            let page = testbed::Metrics::parse(&get("/metrics")?.body)?;
            Ok((page.sum("tracer_attempts_total", &[]) == 5.0).then_some(()))
        })
    };
    let ran = run();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    let ended = poll_until(Duration::from_secs(10), "no end", || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    ran?;
    let status = ended?;
    ensure!(status.success(), "{status}");
    nothing_attached(&bed.node)
}

#[test]
fn outputs_on_a_full_disk() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let full = || OpenOptions::new().write(true).open("/dev/full");
    let mut command = tracer(&bed)?;
    command.stdin(Stdio::null()).stdout(full()?).stderr(full()?);
    works(&bed, command)
}

#[test]
fn a_log_that_nobody_reads() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = tracer(&bed)?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    works(&bed, command)
}

#[test]
fn no_outputs_at_all() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let mut command = tracer(&bed)?;
    let close = || {
        for fd in 0..3 {
            // SAFETY: takes an integer alone; nobody in this process uses these.
            unsafe { libc::close(fd) };
        }
        Ok(())
    };
    // SAFETY: the closure calls only close(2), which is async-signal-safe.
    unsafe { command.pre_exec(close) };
    works(&bed, command)
}

#[test]
fn a_commands_answer_on_a_full_disk_is_an_error() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let full = OpenOptions::new().write(true).open("/dev/full")?;
    ensure!(full.as_raw_fd() > 2, "a standard descriptor");
    let mut command = bed.node.command(Tracer::binary()?)?;
    command.arg("check").stdout(full).stderr(Stdio::piped());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    ensure!(said.contains("No space left on device"), "{said}");
    Ok(())
}

/// A file system without room for another file; unmounted on drop.
struct Full(ScratchDir);

impl Full {
    fn new() -> Result<Self> {
        let dir = ScratchDir::new()?;
        let limits = Some("size=4096,nr_inodes=1");
        mount(
            Some("full"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            limits,
        )?;
        Ok(Self(dir))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn no_room_for_the_socket() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let full = Full::new()?;
    let mut command = tracer(&bed)?;
    let socket = full.0.path().join("tracer.sock");
    command.arg("--socket").arg(&socket);
    let mut process = bed.node.spawn(command)?;
    let status = process.wait(LIMIT)?;
    let said = process.stderr();
    assert_eq!(status.code(), Some(1), "{said}");
    for words in ["tracer.sock", "No space left on device", "--socket"] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    nothing_attached(&bed.node)
}
