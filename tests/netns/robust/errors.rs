//! Starts that cannot succeed: the exit code, one line with what is wrong and
//! how to mend it, and nothing left behind.

use std::{
    ffi::{CStr, CString},
    io,
    net::TcpListener,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Netns, Tracer, cleanup::ScratchDir, http, leftovers::nothing_attached, process::poll_until,
    tracer::LISTEN,
};

const LIMIT: Duration = Duration::from_secs(60);
pub const NET_ADMIN: u32 = 12;
pub const NET_RAW: u32 = 13;
pub const SYS_ADMIN: u32 = 21;
pub const PERFMON: u32 = 38;
pub const BPF: u32 = 39;

/// `tracer run` in `ns`, on the bed's own address. The default socket is the machine's:
/// a daemon of a test beside this one may have it.
fn tracer(ns: &Netns, args: &[&str]) -> Result<Command> {
    let mut command = ns.command(Tracer::binary()?)?;
    let listen = LISTEN.to_string();
    command.args(["run", "--socket", "none", "--web.listen-address", &listen]);
    command.args(args);
    Ok(command)
}

/// Runs it to its end; its code and what it said.
fn ends(ns: &Netns, command: Command) -> Result<(Option<i32>, String)> {
    let mut process = ns.spawn(command)?;
    let status = process.wait(LIMIT)?;
    nothing_attached(ns)?;
    Ok((status.code(), process.stderr()))
}

/// The only line that is no information.
fn complaint(said: &str) -> Result<&str> {
    let mut lines = said.lines().filter(|line| !line.contains("level=info"));
    let line = lines.next().context("nothing said")?;
    ensure!(lines.next().is_none(), "more than one line: {said}");
    Ok(line)
}

/// Leaves the program no capabilities but these: exec by root takes the
/// bounding set (capabilities(7)).
pub fn only(command: &mut Command, kept: &'static [u32]) {
    let drop_others = || {
        for capability in (0..64).filter(|c| !kept.contains(c)) {
            // SAFETY: takes integers alone; EINVAL past the last capability.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability)) };
        }
        Ok(())
    };
    // SAFETY: the closure calls only prctl(2), which is async-signal-safe.
    unsafe { command.pre_exec(drop_others) };
}

/// Puts an empty directory in the place of `over` for this program alone.
fn hide(command: &mut Command, empty: &ScratchDir, over: &'static CStr) -> Result<()> {
    let empty = CString::new(empty.path().as_os_str().as_bytes())?;
    let mount = |from: *const libc::c_char, to: &CStr, flags| {
        let none = std::ptr::null();
        // SAFETY: NUL-terminated strings or null, all alive during the call.
        match unsafe { libc::mount(from, to.as_ptr(), none, flags, none.cast()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let enter = move || {
        // SAFETY: takes an integer alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        mount(std::ptr::null(), c"/", libc::MS_REC | libc::MS_PRIVATE)?;
        mount(empty.as_ptr(), over, libc::MS_BIND)
    };
    // SAFETY: the closure calls only unshare(2) and mount(2), which are
    // async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

#[test]
fn an_interface_that_is_not_there() -> Result<()> {
    let ns = Netns::new("node")?;
    ns.ip("link add veth7 type veth peer name veth8\n")?;
    let (code, said) = ends(&ns, tracer(&ns, &["--interface", "eth9"])?)?;
    assert_eq!(code, Some(78), "{said}");
    let line = complaint(&said)?;
    for word in ["eth9", "does not exist", "lo", "veth7", "veth8"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_found_before_anything_is_loaded() -> Result<()> {
    let ns = Netns::new("node")?;
    let _taken = ns.enter(|| TcpListener::bind(LISTEN))??;
    // Loading would fail with another code.
    let mut command = tracer(&ns, &[])?;
    only(&mut command, &[]);
    let (code, said) = ends(&ns, command)?;
    assert_eq!(code, Some(1), "{said}");
    let line = complaint(&said)?;
    assert!(
        line.contains("address in use") && line.contains("9400"),
        "{line}"
    );
    Ok(())
}

#[test]
fn wrong_settings_are_told_apart_by_where_they_stand() -> Result<()> {
    let ns = Netns::new("node")?;
    let scratch = ScratchDir::new()?;
    let files = [
        ("nonsense: 1\n", "nonsense"),
        ("node_ports: 40000-30000\n", "40000-30000"),
        ("probe_source: [10.0.0.0/99]\n", "line 1, column 16"),
        ("web: {nonsense: 1}\n", "nonsense"),
    ];
    for (text, named) in files {
        let path = scratch.write("tracer.yaml", text)?;
        let path = path.to_str().context("path")?;
        let (code, said) = ends(&ns, tracer(&ns, &["--config", path])?)?;
        assert_eq!(code, Some(78), "{text}{said}");
        assert!(complaint(&said)?.contains(named), "{text}{said}");
    }
    let flags = [
        ("--node-ports", "TRACER_NODE_PORTS", "40000-30000"),
        ("--probe-source", "TRACER_PROBE_SOURCE", "10.0.0.0/99"),
        ("--handshake-timeout", "TRACER_HANDSHAKE_TIMEOUT", "soon"),
    ];
    for (flag, variable, value) in flags {
        let (code, said) = ends(&ns, tracer(&ns, &[flag, value])?)?;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(flag) && said.contains(value), "{said}");
        let mut command = tracer(&ns, &[])?;
        command.env(variable, value);
        let (code, said) = ends(&ns, command)?;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(variable) && said.contains(value), "{said}");
    }
    Ok(())
}

#[test]
fn a_kubeconfig_that_runs_a_program() -> Result<()> {
    let ns = Netns::new("node")?;
    let scratch = ScratchDir::new()?;
    let kubeconfig = "{apiVersion: v1, kind: Config, current-context: c, \
        clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], \
        contexts: [{name: c, context: {cluster: c, user: u}}], \
        users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, \
                                        interactiveMode: Never, command: aws-token}}}]}";
    let path = scratch.write("kubeconfig", kubeconfig)?;
    let path = path.to_str().context("path")?;
    let (code, said) = ends(&ns, tracer(&ns, &["--kubeconfig", path])?)?;
    assert_eq!(code, Some(78), "{said}");
    let line = complaint(&said)?;
    for word in ["kubeconfig", "`aws-token`", "tokenFile"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    Ok(())
}

/// By the same exit code and in the same words, with and without privileges.
#[test]
fn check_refuses_what_run_refuses() -> Result<()> {
    let ns = Netns::new("node")?;
    let scratch = ScratchDir::new()?;
    let wrong = scratch.write("wrong.yaml", "probe_sources: [10.0.0.0/8]\n")?;
    let names = scratch.write("names.yaml", "ports: [{node_port: 0}]\n")?;
    let [wrong, names] = [&wrong, &names].map(|path| path.to_str().unwrap_or_default());
    for (args, code) in [
        (["--config", wrong], 78),
        (["--config", "/dev/zero"], 78),
        (["--services", names], 78),
        (["--services", "/nonexistent"], 78),
        (["--kubeconfig", "/dev/zero"], 78),
        (["--kubeconfig", wrong], 78),
        (["--kubernetes", "on"], 78),
        (["--web.config.file", wrong], 78),
        (["--interface", "eth9"], 78),
        (["--log.level", "info"], 69),
    ] {
        let mut run = tracer(&ns, &args)?;
        only(&mut run, &[]);
        let (ended, said) = ends(&ns, run)?;
        assert_eq!(ended, Some(code), "run {args:?}: {said}");
        let mut check = ns.command(Tracer::binary()?)?;
        check.arg("check").args(args);
        only(&mut check, &[]);
        let (ended, told) = ends(&ns, check)?;
        assert_eq!(ended, Some(code), "check {args:?}: {told}");
        let line = told.trim_start_matches("tracer: ").trim_end();
        // A log line has quotes around it, and before those within.
        let said = said.replace("\\\"", "\"");
        assert!(
            line.lines().count() == 1 && said.contains(line),
            "{line}: {said}"
        );
    }
    Ok(())
}

#[test]
fn without_capabilities() -> Result<()> {
    let ns = Netns::new("node")?;
    let cases: [(&'static [u32], &[&str]); 3] = [
        (&[], &["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
        (&[NET_ADMIN, PERFMON], &["CAP_BPF"]),
        (&[BPF, SYS_ADMIN], &["CAP_NET_ADMIN"]),
    ];
    for (kept, missing) in cases {
        let mut command = tracer(&ns, &[])?;
        only(&mut command, kept);
        let (code, said) = ends(&ns, command)?;
        assert_eq!(code, Some(69), "{said}");
        let line = complaint(&said)?;
        assert!(
            line.contains(&format!("{} missing", missing.join(", "))),
            "{line}"
        );
        assert!(line.contains("grant these"), "{line}");
    }
    Ok(())
}

#[test]
fn the_least_privileges_are_enough() -> Result<()> {
    let ns = Netns::new("node")?;
    let cases: [(&str, &'static [u32]); 2] = [
        ("auto", &[NET_ADMIN, PERFMON, BPF, NET_RAW]),
        ("packet", &[NET_ADMIN, PERFMON, BPF, NET_RAW]),
    ];
    for (tap, kept) in cases {
        let mut command = tracer(&ns, &["--wire-tap", tap, "--interface", "lo"])?;
        only(&mut command, kept);
        let mut process = ns.spawn(command)?;
        process.wait_until(LIMIT, "not ready", |_| {
            http::get(&ns, LISTEN, "/readyz", "*/*").is_ok_and(|r| r.status == 200)
        })?;
        process.kill();
        poll_until(LIMIT, "still attached", || {
            Ok(nothing_attached(&ns).is_ok().then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn without_btf() -> Result<()> {
    let ns = Netns::new("node")?;
    let empty = ScratchDir::new()?;
    let mut command = tracer(&ns, &[])?;
    hide(&mut command, &empty, c"/sys/kernel/btf")?;
    let (code, said) = ends(&ns, command)?;
    assert_eq!(code, Some(69), "{said}");
    let line = complaint(&said)?;
    for word in ["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    Ok(())
}
