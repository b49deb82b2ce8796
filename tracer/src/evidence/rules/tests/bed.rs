//! A network namespace of its own, and rules in it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
};

use crate::evidence::{
    InterfaceName,
    rules::{Reader, RuleSets, Stop, Syn, Traced},
};

pub const CLIENT: &str = "10.66.1.6";
pub const NODE: &str = "10.60.0.1";

/// Runs `work` on a thread in a namespace of its own, which has the node's addresses and
/// two interfaces, eth0 and eth1.
/// Without privileges it does not run: CI has them.
pub fn apart(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            match unshare(CloneFlags::CLONE_NEWNET) {
                Err(Errno::EPERM) => return,
                entered => entered.unwrap(),
            }
            run(&["ip", "link", "set", "lo", "up"], "");
            let link = "ip link add eth0 type veth peer name eth1";
            run(&link.split(' ').collect::<Vec<_>>(), "");
            run(&["ip", "address", "add", "10.60.0.1/24", "dev", "lo"], "");
            run(
                &[
                    "ip",
                    "address",
                    "add",
                    "fd00:60::1/64",
                    "dev",
                    "lo",
                    "nodad",
                ],
                "",
            );
            work();
        });
        thread.join().unwrap();
    });
}

/// A command in the calling thread's namespace.
pub fn run(argv: &[&str], input: &str) {
    let mut command = Command::new(argv[0]);
    // The lock file of iptables is shared by all namespaces.
    command
        .args(&argv[1..])
        .env("XTABLES_LOCKFILE", "/dev/null");
    let mut child = command.stdin(Stdio::piped()).spawn().expect(argv[0]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{argv:?}");
}

/// A command in words.
pub fn sh(line: &str) {
    run(&["sh", "-c", line], "");
}

pub fn syn(port: u16) -> Syn {
    Syn {
        client: CLIENT.parse().unwrap(),
        client_port: None,
        dialled: NODE.parse().unwrap(),
        node_port: port,
        interface: InterfaceName::new("eth0"),
        backend: None,
        way_out: None,
    }
}

pub fn syn6(port: u16) -> Syn {
    Syn {
        client: "fd00:66::6".parse().unwrap(),
        dialled: "fd00:60::1".parse().unwrap(),
        ..syn(port)
    }
}

/// Reads all, for these SYNs.
pub fn read(reader: &mut Reader, syns: &[Syn]) -> RuleSets {
    let mut absent = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    let rules = reader.rules(syns, Duration::from_secs(60), deadline, &mut absent);
    assert_eq!(absent, []);
    rules
}

pub fn trace(syn: &Syn) -> Traced {
    read(&mut Reader::default(), std::slice::from_ref(syn)).trace(syn)
}

/// The only rule that stops it.
pub fn only(syn: &Syn) -> Stop {
    let traced = trace(syn);
    assert!(traced.complete, "{traced:#?}");
    assert_eq!(traced.stops.len(), 1, "{traced:#?}");
    traced.stops[0].clone()
}
