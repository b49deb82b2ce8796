//! Nowhere to write to: full disks, closed or broken outputs.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, PipeWriter, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    mount::{MntFlags, MsFlags, mount, umount2},
};
use testbed::{
    Metrics, Topology, Tracer, addr::NODE_V4, cleanup::ScratchDir, http,
    leftovers::nothing_attached, peer::Dial, process::poll_until, tracer::LISTEN,
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

fn metrics(bed: &Topology) -> Result<Metrics> {
    let page = http::get(&bed.node, LISTEN, "/metrics", "text/plain;version=0.0.4")?;
    Metrics::parse(&page.body)
}

/// `count` dials that are refused, and counted.
fn refused(bed: &Topology, count: usize) -> Result<()> {
    let attempts = |m: &Metrics| m.sum("tracer_attempts_total", &[]) as usize;
    let before = attempts(&metrics(bed)?);
    for _ in 0..count {
        let ended = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
        ensure!(ended.is_err(), "connected");
    }
    poll_until(LIMIT, "not counted", || {
        Ok((attempts(&metrics(bed)?) == before + count).then_some(()))
    })
}

fn lines_lost(bed: &Topology) -> Result<f64> {
    Ok(metrics(bed)?.sum("tracer_log_lines_lost_total", &[]))
}

/// It becomes ready, counts, and ends in order, whatever its outputs are worth.
fn works(
    bed: &Topology,
    mut command: Command,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    command.args(["--socket", "none"]);
    let mut child = command.spawn().context("start tracer")?;
    let run = || -> Result<()> {
        poll_until(LIMIT, "not ready", || {
            let ready = http::get(&bed.node, LISTEN, "/readyz", "*/*");
            Ok(ready.is_ok_and(|r| r.status == 200).then_some(()))
        })?;
        refused(bed, 5)?;
        meanwhile()
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

/// Each line is counted as lost.
fn is_told(bed: &Topology) -> Result<()> {
    let lost = lines_lost(bed)?;
    ensure!(lost > 5.0, "{lost} lines lost");
    Ok(())
}

#[test]
fn outputs_on_a_full_disk() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let full = || OpenOptions::new().write(true).open("/dev/full");
    let mut command = tracer(&bed)?;
    command.stdin(Stdio::null()).stdout(full()?).stderr(full()?);
    works(&bed, command, || is_told(&bed))
}

#[test]
fn a_log_on_a_disk_that_has_room_again() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    // The log, and what fills the rest.
    let disk = Small::new("size=64k")?;
    let log = disk.0.path().join("log");
    let rest = disk.0.path().join("rest");
    let to = OpenOptions::new().create(true).append(true).open(&log)?;
    let full = std::fs::write(&rest, vec![b'-'; 1 << 20]);
    ensure!(full.is_err_and(|e| e.kind() == ErrorKind::StorageFull));
    let mut command = tracer(&bed)?;
    command.args(["--kernel-log", "debug"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(to);
    works(&bed, command, || {
        is_told(&bed)?;
        ensure!(std::fs::read(&log)?.is_empty(), "there was room");
        std::fs::remove_file(&rest)?;
        let said = || std::fs::read_to_string(&log).context("read the log");
        poll_until(LIMIT, "not told", || {
            refused(&bed, 1)?;
            Ok(said()?.contains("lines of the log were lost").then_some(()))
        })?;
        let lost = lines_lost(&bed)?;
        refused(&bed, 3)?;
        ensure!(lines_lost(&bed)? == lost, "lines are lost still");
        Ok(())
    })
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
    works(&bed, command, || is_told(&bed))
}

fn set_flags(of: impl AsFd, flags: OFlag) -> Result<()> {
    fcntl(of, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Writes until there is no room.
fn fill(mut pipe: &PipeWriter) -> Result<()> {
    set_flags(pipe, OFlag::O_NONBLOCK)?;
    loop {
        match pipe.write(&[b'-'; 4096]) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => return Err(e.into()),
        }
    }
    set_flags(pipe, OFlag::empty())
}

#[test]
fn a_log_whose_reader_sleeps() -> Result<()> {
    // More lines than wait in the daemon; the kernel programs' log has room for some
    // 150, and is read once a second.
    const ROUNDS: usize = 6;
    const DIALS: usize = 150;
    let bed = Topology::builder().pods(0).build()?;
    let (mut reader, writer) = std::io::pipe()?;
    fill(&writer)?;
    let mut command = tracer(&bed)?;
    command.args(["--kernel-log", "debug"]);
    let out = writer.try_clone()?;
    command.stdin(Stdio::null()).stdout(out).stderr(writer);
    works(&bed, command, || {
        for _ in 0..ROUNDS {
            refused(&bed, DIALS)?;
            std::thread::sleep(Duration::from_millis(1200));
        }
        let lost = lines_lost(&bed)?;
        ensure!(lost > 100.0, "{lost} lines lost");
        // The reader wakes up: what waited comes, then how much did not.
        set_flags(&reader, OFlag::O_NONBLOCK)?;
        let mut said = Vec::new();
        poll_until(LIMIT, "not told", || {
            match reader.read_to_end(&mut said) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                ended => bail!("{ended:?}"),
            }
            let text = String::from_utf8_lossy(&said);
            let told = text.contains("lines of the log were lost") && text.contains("starting");
            Ok(told.then_some(()))
        })?;
        let lost = lines_lost(&bed)?;
        refused(&bed, 5)?;
        ensure!(lines_lost(&bed)? == lost, "lines are lost still");
        Ok(())
    })
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
    works(&bed, command, || Ok(()))
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

/// A file system of a few pages; unmounted on drop.
struct Small(ScratchDir);

impl Small {
    fn new(limits: &str) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let (tmpfs, flags) = (Some("tmpfs"), MsFlags::empty());
        mount(tmpfs, dir.path(), tmpfs, flags, Some(limits))?;
        Ok(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn no_room_for_the_socket() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let full = Small::new("size=4096,nr_inodes=1")?;
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
    nothing_attached(&bed.node)?;
    // With room for it the same start is well.
    let larger = Some("size=4096,nr_inodes=8");
    mount(
        None::<&str>,
        full.0.path(),
        None::<&str>,
        MsFlags::MS_REMOUNT,
        larger,
    )?;
    let mut command = tracer(&bed)?;
    command.arg("--socket").arg(&socket);
    let mut process = bed.node.spawn(command)?;
    process.wait_until(LIMIT, "not ready", |_| socket.exists())?;
    let status = process.stop(nix::sys::signal::Signal::SIGTERM, LIMIT)?;
    ensure!(status.success(), "{status}: {}", process.stderr());
    nothing_attached(&bed.node)
}
