//! What the daemon's threads may do once it is ready, by what /proc says.

use std::{
    collections::BTreeMap, ffi::CStr, fs, io, os::unix::process::CommandExt as _, process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use testbed::{Netns, Proc, Tracer, http, kernel, process::poll_until, tracer::LISTEN};

use crate::errors::{BPF, NET_ADMIN, NET_RAW, PERFMON, SYS_ADMIN, only};

const LIMIT: Duration = Duration::from_secs(60);
const SYS_PTRACE: u32 = 19;
const SYSLOG: u32 = 34;

const fn bit(capability: u32) -> u64 {
    1 << capability
}

/// A node with one interface that is tapped.
fn node() -> Result<Netns> {
    let ns = Netns::new("node")?;
    ns.ip("link set lo up\n")?;
    add_interface(&ns, 7)?;
    Ok(ns)
}

fn add_interface(ns: &Netns, i: u8) -> Result<()> {
    ns.ip(&format!(
        "link add veth{i} type veth peer name peer{i}\n\
         addr add 10.99.{i}.1/24 dev veth{i}\n\
         link set peer{i} up\nlink set veth{i} up\n"
    ))
}

fn command(ns: &Netns) -> Result<Command> {
    let mut command = ns.command(Tracer::binary()?)?;
    let address = LISTEN.to_string();
    command.args(["run", "--socket", "none", "--web.listen-address", &address]);
    Ok(command)
}

fn ready(ns: &Netns, command: Command) -> Result<Proc> {
    let mut process = ns.spawn(command)?;
    process.wait_until(LIMIT, "tracer did not become ready", |_| {
        http::get(ns, LISTEN, "/readyz", "").is_ok_and(|r| r.status == 200)
    })?;
    Ok(process)
}

/// What /proc/PID/task/TID/status says of one thread.
#[derive(Clone, Debug)]
struct Thread {
    name: String,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
    bounding: u64,
    no_new_privs: bool,
    seccomp: bool,
}

fn threads(pid: i32) -> Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("status"))?;
        let lines: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once(':')).collect();
        let word = |name: &str| lines.get(name).map_or("", |value| value.trim());
        let set = |name| u64::from_str_radix(word(name), 16).with_context(|| text.clone());
        threads.push(Thread {
            name: word("Name").to_owned(),
            effective: set("CapEff")?,
            permitted: set("CapPrm")?,
            inheritable: set("CapInh")?,
            ambient: set("CapAmb")?,
            bounding: set("CapBnd")?,
            no_new_privs: word("NoNewPrivs") == "1",
            seccomp: word("Seccomp") == "2",
        });
    }
    Ok(threads)
}

/// Whether maps can be read without CAP_BPF.
fn reads_freely() -> Result<bool> {
    Ok(kernel::version()? >= (5, 19))
}

/// No thread has more than it has a use for; `collector`: what that one keeps.
fn check(all: &[Thread], collector: u64) -> Result<()> {
    let reads = if reads_freely()? { 0 } else { bit(BPF) };
    ensure!(all.len() >= 4, "too few threads");
    for thread in all {
        // The log's thread reads no map.
        let reads = if thread.name == "log" { 0 } else { reads };
        let kept = match thread.name.as_str() {
            "keeper" if kernel::has_tcx()? => reads,
            "keeper" => reads | bit(NET_RAW),
            "collector" => collector | reads,
            _ => reads,
        };
        let who = format!("{thread:x?}");
        ensure!(thread.effective == reads, "effective: {who}");
        ensure!(thread.permitted & !kept == 0, "permitted: {who}");
        ensure!(thread.inheritable == 0 && thread.ambient == 0, "{who}");
        ensure!(thread.no_new_privs && thread.seccomp, "{who}");
    }
    Ok(())
}

/// Threads lower themselves as they start.
fn checked(process: &Proc, collector: u64) -> Result<Vec<Thread>> {
    let mut last = Ok(());
    let found = poll_until(Duration::from_secs(5), "threads keep too much", || {
        let all = threads(process.pid())?;
        last = check(&all, collector);
        Ok(last.is_ok().then_some(all))
    });
    last.with_context(|| process.stderr())?;
    found
}

/// Started with all that root has; it can still do its work afterwards.
#[test]
fn vm_threads_of_root() -> Result<()> {
    let ns = node()?;
    let process = ready(&ns, command(&ns)?)?;
    let collector = bit(NET_ADMIN) | bit(SYS_ADMIN) | bit(SYS_PTRACE);
    let own = fs::read_to_string("/proc/self/status")?;
    let all = checked(&process, collector)?;
    // CAP_SETPCAP, which dropping the bounding set takes.
    let set = own.lines().find_map(|l| l.strip_prefix("CapEff:"));
    if u64::from_str_radix(set.unwrap_or_default().trim(), 16)? >> 8 & 1 == 1 {
        ensure!(all.iter().all(|thread| thread.bounding == 0), "{all:x?}");
    }
    // What comes later is tapped all the same, and what answers, answers.
    add_interface(&ns, 8)?;
    poll_until(LIMIT, "the new interface is not tapped", || {
        let said = process.stderr();
        let tapped = |line: &&str| line.contains("wire tap attached") && line.contains("veth8");
        Ok(said.lines().find(tapped).map(drop))
    })?;
    let page = http::get(&ns, LISTEN, "/metrics", "")?;
    ensure!(page.status == 200, "{}", page.body);
    checked(&process, collector)?;
    Ok(())
}

/// Of all that root has, what looking into pods takes is given up when that is
/// switched off.
#[test]
fn vm_without_evidence_from_pods() -> Result<()> {
    let ns = node()?;
    let mut command = command(&ns)?;
    command.arg("--pod-evidence=false");
    let process = ready(&ns, command)?;
    checked(&process, bit(NET_ADMIN))?;
    Ok(())
}

/// Before Linux 5.11 the memory of maps counts against RLIMIT_MEMLOCK, 64 KiB, which a
/// daemon without CAP_SYS_RESOURCE has to be given; later it does not matter that it
/// cannot be raised here.
fn raise_memlock() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Started with the least: evidence from pods is off, all else is there.
#[test]
fn vm_threads_of_the_least() -> Result<()> {
    let ns = node()?;
    raise_memlock();
    let mut command = command(&ns)?;
    // Without tcx, before Linux 6.6, packet sockets take one more.
    only(&mut command, &[BPF, PERFMON, NET_ADMIN, NET_RAW]);
    let process = ready(&ns, command)?;
    checked(&process, bit(NET_ADMIN))?;
    let said = process.stderr();
    let absent = |hook: &str| {
        said.lines()
            .any(|line| line.contains("hook absent") && line.contains(&format!("hook={hook} ")))
    };
    for hook in [
        "wire",
        "inet_sock_set_state",
        "tcp_send_reset",
        "net_dev_queue",
    ] {
        ensure!(!absent(hook), "{said}");
    }
    for given in [SYS_ADMIN, SYS_PTRACE, SYSLOG] {
        let all = threads(process.pid())?;
        ensure!(
            all.iter().all(|t| t.permitted & bit(given) == 0),
            "{all:x?}"
        );
    }
    Ok(())
}

/// Like a container: nothing can be written, no tracefs, no debugfs.
#[test]
fn vm_read_only_root_without_tracefs() -> Result<()> {
    let ns = node()?;
    let mut command = command(&ns)?;
    read_only(&mut command);
    let process = ready(&ns, command)?;
    let root = format!("/proc/{}/root", process.pid());
    let written = fs::write(format!("{root}/tracer-was-here"), "");
    ensure!(
        written.is_err_and(|e| e.kind() == io::ErrorKind::ReadOnlyFilesystem),
        "the root can be written"
    );
    for folder in ["tracing", "debug/tracing"] {
        let events = format!("{root}/sys/kernel/{folder}/events");
        ensure!(fs::metadata(&events).is_err(), "{events} is there");
    }
    ensure!(
        process
            .stderr()
            .contains("hook=inet_sock_set_state mode=tp_btf")
    );
    Ok(())
}

/// The program gets a view of the files of its own.
fn read_only(command: &mut Command) {
    let mount = |at: &CStr, flags: libc::c_ulong| {
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: NUL-terminated strings or null, all alive during the call.
        match unsafe { libc::mount(none, at.as_ptr(), none, flags, none.cast()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let enter = move || {
        // SAFETY: takes an integer alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        mount(c"/", libc::MS_REC | libc::MS_PRIVATE)?;
        for gone in [c"/sys/kernel/tracing", c"/sys/kernel/debug"] {
            // Not mounted: as good.
            // SAFETY: a NUL-terminated string and an integer.
            unsafe { libc::umount2(gone.as_ptr(), libc::MNT_DETACH) };
        }
        mount(c"/", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY)
    };
    // SAFETY: the closure calls only unshare(2), umount2(2) and mount(2), which
    // are async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(enter) };
}
