//! The kernel refuses in the middle of loading: nothing stays behind, and one
//! line says why. What has been mended is no hindrance any more.

use std::{io, os::unix::process::CommandExt as _, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{Netns, Tracer, leftovers::nothing_attached, tracer::LISTEN};

const LIMIT: Duration = Duration::from_secs(60);

fn tracer(ns: &Netns) -> Result<Command> {
    let mut command = ns.command(Tracer::binary()?)?;
    command.args(["run", "--socket", "none", "--interface", "lo"]);
    command.args(["--web.listen-address", &LISTEN.to_string()]);
    Ok(command)
}

/// Its exit code and its only line that is no information.
fn ends(ns: &Netns, command: Command) -> Result<(Option<i32>, String)> {
    let mut process = ns.spawn(command)?;
    let status = process.wait(LIMIT)?;
    nothing_attached(ns)?;
    let said = process.stderr();
    let mut lines = said.lines().filter(|l| l.contains("level=error"));
    let line = lines.next().with_context(|| format!("no error: {said}"))?;
    ensure!(lines.next().is_none(), "more than one error: {said}");
    Ok((status.code(), line.to_owned()))
}

/// Nothing is in the way of the next start.
fn starts(ns: &Netns) -> Result<()> {
    let next = Tracer::start(ns, &["--interface", "lo"])?;
    let metrics = next.metrics()?;
    let hook = [("hook", "inet_sock_set_state")];
    ensure!(metrics.sum("tracer_hook_attached", &hook) == 1.0);
    let (status, said) = next.stop()?;
    ensure!(status.success(), "{status}: {said}");
    nothing_attached(ns)
}

#[test]
fn descriptors_run_out_at_any_step() -> Result<()> {
    let ns = Netns::new("node")?;
    // The program's own files, then maps, then programs, then links.
    for most in [14, 18, 24, 30, 38, 46] {
        let mut command = tracer(&ns)?;
        let limit = move || {
            let limit = libc::rlimit {
                rlim_cur: most,
                rlim_max: most,
            };
            // SAFETY: reads one live rlimit.
            match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure calls only setrlimit(2), which is async-signal-safe.
        unsafe { command.pre_exec(limit) };
        let (code, line) = ends(&ns, command).with_context(|| format!("{most} descriptors"))?;
        ensure!(matches!(code, Some(1 | 69)), "{most}: {code:?}: {line}");
        // By name or number: its words are the C library's.
        let named = ["EMFILE", "os error 24"]
            .iter()
            .any(|text| line.contains(text));
        ensure!(named, "{most}: {line}");
    }
    starts(&ns)
}

/// Instructions of classic BPF (linux/filter.h) that let every system call pass
/// but `bpf(2)` with one command, which gets EPERM.
fn refuse_command(command: u32) -> [libc::sock_filter; 6] {
    let op = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    [
        // struct seccomp_data: the number, then after arch and instruction
        // pointer the arguments.
        op(load, 0, 0, 0),
        op(equal, 0, 3, libc::SYS_bpf as u32),
        op(load, 0, 0, 16),
        op(equal, 0, 1, command),
        op(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        op(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[test]
fn a_seccomp_filter_refuses_one_step() -> Result<()> {
    // enum bpf_cmd: maps are there before programs, programs before links.
    const MAP_CREATE: u32 = 0;
    const PROG_LOAD: u32 = 5;
    let ns = Netns::new("node")?;
    for refused in [MAP_CREATE, PROG_LOAD] {
        let mut command = tracer(&ns)?;
        let filter = refuse_command(refused);
        let install = move || {
            let program = libc::sock_fprog {
                len: filter.len() as u16,
                filter: filter.as_ptr().cast_mut(),
            };
            // SAFETY: reads the filter, which lives as long as this closure.
            let set = unsafe {
                libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                )
            };
            match set {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure calls only prctl(2), which is async-signal-safe.
        unsafe { command.pre_exec(install) };
        let (code, line) = ends(&ns, command).with_context(|| format!("command {refused}"))?;
        assert_eq!(code, Some(69), "{refused}: {line}");
        for words in ["Operation not permitted", "seccomp"] {
            ensure!(line.contains(words), "{words}: {line}");
        }
    }
    starts(&ns)
}
