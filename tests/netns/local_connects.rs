//! Dials made on a node to watched ports: every way a dial can end, in every
//! mode of the connect hook, counted exactly; retransmissions against the
//! kernel's own counters; nothing twice where the wire tap follows as well.
#[path = "local_connects/at_once.rs"]
mod at_once;
#[path = "local_connects/bed.rs"]
mod bed;
#[path = "local_connects/loss.rs"]
mod loss;

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use testbed::{
    Netns, Tracer, kernel,
    peer::{Behaviour, Dial, Server},
    rules, seen,
};

use bed::{
    BEYOND, Bed, Counts, FAR_V4, FAR_V6, LIMIT, NODE_V4, STRANGER, begin, counts, ending,
    established_then_reset, mapped, port,
};

const DIALS: &str = "tracer_local_connects_total";
const RESETS: &str = "tracer_resets_total";
const RETRANSMITS: &str = "tracer_retransmits_total";

/// Dials that the state of the socket alone tells.
fn ordinary(bed: &Bed) -> Result<()> {
    for _ in 0..3 {
        bed.dial(FAR_V4, port::OPEN).stream()?;
        bed.dial(FAR_V6, port::OPEN).stream()?;
        bed.dial(mapped(FAR_V4), port::OPEN).stream()?;
    }
    for _ in 0..2 {
        bed.fails(FAR_V4, port::CLOSED, Errno::ECONNREFUSED)?;
        bed.fails(FAR_V6, port::CLOSED, Errno::ECONNREFUSED)?;
        bed.fails(mapped(FAR_V4), port::CLOSED, Errno::ECONNREFUSED)?;
    }
    // Neither this node's nor a Service's; and a pod's own loopback, which is not the
    // node's either.
    bed.fails(STRANGER, port::CLOSED, Errno::ECONNREFUSED)?;
    established_then_reset(&bed.dial(STRANGER, port::RESET))?;
    for own in [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let ended = Dial::new(&bed.far, (own, port::CLOSED)).connect()?.err();
        ensure!(ended == Some(Errno::ECONNREFUSED), "{own}: {ended:?}");
    }
    bed.fails(FAR_V4, port::REJECTED, Errno::ECONNREFUSED)?;
    bed.fails(FAR_V6, port::REJECTED, Errno::ECONNREFUSED)?;
    let polled = begin(&bed.node, (FAR_V4, port::REJECTED).into(), None)?;
    ensure!(
        ending(&polled)? == Errno::ECONNREFUSED as i32,
        "not refused"
    );
    bed.fails(BEYOND, port::NO_HOST, Errno::EHOSTUNREACH)?;
    bed.fails(FAR_V4, port::SILENT, Errno::ETIMEDOUT)?;
    drop(begin(&bed.node, (FAR_V4, port::GIVEN_UP).into(), None)?);
    let abrupt = begin(&bed.node, (FAR_V4, port::GIVEN_UP).into(), None)?;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&abrupt, sockopt::Linger, &linger)?;
    drop(abrupt);
    let itself = SocketAddr::from((Ipv4Addr::LOCALHOST, port::ITSELF));
    let simultaneous = begin(&bed.node, itself, Some(itself))?;
    ensure!(ending(&simultaneous)? == 0, "a socket cannot dial itself");
    Ok(())
}

/// Dials that fail inside connect(2), with a SYN_SENT behind them or not.
fn immediate(bed: &Bed) -> Result<()> {
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    bed.fails(nowhere, port::NO_ROUTE, Errno::ENETUNREACH)?;
    bed.fails(mapped(nowhere), port::NO_ROUTE, Errno::ENETUNREACH)?;
    bed.fails(
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        port::NO_ROUTE,
        Errno::ENETUNREACH,
    )?;
    bed.fails(Ipv4Addr::new(10, 63, 0, 1), port::NO_ROUTE, Errno::EACCES)?;
    let from = (NODE_V4, 41_000);
    let bound = bed.dial(FAR_V4, port::NO_SOURCE).from(from);
    let held = bound.stream()?;
    let again = bound.connect()?.err();
    ensure!(
        again == Some(Errno::EADDRNOTAVAIL),
        "the same four-tuple twice: {again:?}"
    );
    bed.node
        .sysctls(&[("net/ipv4/ip_local_port_range", "45000 45001")])?;
    let pair = [
        bed.dial(FAR_V4, port::NO_SOURCE).stream()?,
        bed.dial(FAR_V4, port::NO_SOURCE).stream()?,
    ];
    bed.fails(FAR_V4, port::NO_SOURCE, Errno::EADDRNOTAVAIL)?;
    bed.fails(mapped(FAR_V4), port::NO_SOURCE, Errno::EADDRNOTAVAIL)?;
    bed.node
        .sysctls(&[("net/ipv4/ip_local_port_range", "32768 60999")])?;
    drop((held, pair));
    Ok(())
}

/// RSTs on established dials: two from the peer, one from the process.
fn resets(bed: &Bed) -> Result<()> {
    for to in [IpAddr::V4(FAR_V4), IpAddr::V6(FAR_V6)] {
        established_then_reset(&bed.dial(to, port::RESET))?;
    }
    bed.dial(FAR_V4, port::LOSSY).connect_rst()
}

/// What the dials above amount to.
fn expected(with_immediate: bool) -> Counts {
    let mut all = vec![
        (port::OPEN, "established", 9),
        (port::CLOSED, "refused", 6),
        (port::REJECTED, "refused", 3),
        (port::NO_HOST, "unreachable", 1),
        (port::SILENT, "timed_out", 1),
        (port::GIVEN_UP, "cancelled", 2),
        (port::ITSELF, "established", 1),
        (port::NO_SOURCE, "established", 3),
        (port::NO_SOURCE, "no_source", 3),
        (port::RESET, "established", 2),
        (port::LOSSY, "established", 1),
    ];
    if with_immediate {
        all.extend([
            (port::NO_ROUTE, "unreachable", 3),
            (port::NO_ROUTE, "denied", 1),
        ]);
    }
    all.into_iter()
        .map(|(port, word, count)| ((port, word.to_owned()), count))
        .collect()
}

/// The programs at raw tracepoints, which serve where tp_btf cannot.
const RAW: [&str; 2] = ["--tracepoint-hook", "raw-tp"];

/// All dials under one mode of the hook at the connect functions.
fn every_ending(hook: &str, options: &[&str]) -> Result<()> {
    let bed = Bed::new()?;
    let tracer = bed.trace(&[&["--connect-hook", hook][..], options].concat())?;
    ordinary(&bed)?;
    immediate(&bed)?;
    resets(&bed)?;
    let metrics = tracer.metrics()?;
    let hooked = |function| metrics.sum("tracer_hook_attached", &[("hook", function)]) == 1.0;
    let functions = ["tcp_v4_connect", "tcp_v6_connect"].map(hooked);
    match hook {
        "set-state" => assert_eq!(functions, [false, false]),
        "auto" => assert_eq!(functions, [kernel::has_probes(); 2]),
        _ => assert_eq!(functions, [true, true]),
    }
    assert_eq!(counts(&metrics, DIALS, "outcome"), expected(functions[0]));
    let by_far = |port, count| ((port, "unknown".to_owned()), count);
    let by_client = ((port::LOSSY, "client".to_owned()), 1);
    let resets = Counts::from([by_far(port::CLOSED, 6), by_far(port::RESET, 2), by_client]);
    assert_eq!(counts(&metrics, RESETS, "origin"), resets);
    assert_eq!(metrics.sum("tracer_events_lost_total", &[]), 0.0);
    seen::right(&[
        "inet_sock_set_state",
        "tcp_v4_connect",
        "tcp_v6_connect",
        "tcp_send_reset",
        "tcp_receive_reset",
    ])
}

/// A mode asked for by name is had, or the daemon says why not and ends.
fn by_name(hook: &str) -> Result<()> {
    if kernel::has_probes() {
        return every_ending(hook, &[]);
    }
    let node = Netns::new("node")?;
    let mut command = node.command(Tracer::binary()?)?;
    command.args(["run", "--node-ports", port::ALL, "--connect-hook", hook]);
    let mut process = node.spawn(command)?;
    let status = process.wait(Duration::from_secs(60))?;
    let said = process.stderr();
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(
        said.contains("tcp_v4_connect") && said.contains(hook),
        "{said}"
    );
    Ok(())
}

/// In guests that is by fentry.
#[test]
fn every_ending_by_default() -> Result<()> {
    every_ending("auto", &[])
}

#[test]
fn vm_every_ending_by_state_alone() -> Result<()> {
    every_ending("set-state", &[])
}

#[test]
fn vm_every_ending_by_fentry() -> Result<()> {
    by_name("fentry")
}

#[test]
fn vm_every_ending_by_raw_tracepoints() -> Result<()> {
    every_ending("auto", &RAW)
}

#[test]
fn vm_every_ending_by_kprobe() -> Result<()> {
    by_name("kprobe")
}

/// The kernel's own count of retransmitted segments, dials and listeners.
fn retransmitted(bed: &Bed) -> Result<u64> {
    let [node, far] = [&bed.node, &bed.far].map(|ns| ns.counter("Tcp", "RetransSegs"));
    Ok(node? + far?)
}

#[test]
fn vm_retransmissions_agree_with_the_kernel() -> Result<()> {
    retransmissions(&[])
}

#[test]
fn vm_retransmissions_by_raw_tracepoints() -> Result<()> {
    retransmissions(&RAW)
}

fn retransmissions(options: &[&str]) -> Result<()> {
    let bed = Bed::new()?;
    let _held = Server::start(&bed.node, (NODE_V4, port::NODE), Behaviour::NeverAccept)?;
    let tracer = bed.trace(options)?;
    bed.fails(FAR_V4, port::SILENT, Errno::ETIMEDOUT)?;
    let mut lossy = bed.dial(FAR_V4, port::LOSSY).stream()?;
    let loss = rules::add(
        &bed.far,
        &[("input", "filter")],
        &format!("tcp dport {} drop", port::LOSSY),
    )?;
    lossy.write_all(b"lost")?;
    let unheard = rules::drop_syn_acks_at_client(&bed.far, port::NODE)?;
    let dial = begin(&bed.far, (NODE_V4, port::NODE).into(), None)?;
    let kinds = [
        (port::SILENT, "syn"),
        (port::LOSSY, "data"),
        (port::NODE, "syn_ack"),
    ];
    tracer.metrics_when(LIMIT, "some of each kind", |metrics| {
        let found = counts(metrics, RETRANSMITS, "kind");
        kinds
            .iter()
            .all(|(port, kind)| found.contains_key(&(*port, (*kind).to_owned())))
    })?;
    loss.remove(&bed.far)?;
    unheard.remove(&bed.far)?;
    ensure!(ending(&dial)? == 0, "the handshake did not complete");
    drop((lossy, dial));
    let agreed = tracer.metrics_when(LIMIT, "the kernel's own count", |metrics| {
        let ours = counts(metrics, RETRANSMITS, "kind").values().sum::<u64>();
        retransmitted(&bed).is_ok_and(|kernel| kernel == ours)
    })?;
    let found = counts(&agreed, RETRANSMITS, "kind");
    assert_eq!(found.get(&(port::SILENT, "syn".to_owned())), Some(&1));
    seen::right(&["tcp_retransmit_skb", "tcp_retransmit_synack"])
}

#[test]
fn vm_nothing_twice_where_the_wire_tap_follows() -> Result<()> {
    let bed = Bed::new()?;
    let _open = Server::start(&bed.node, (NODE_V4, port::NODE), Behaviour::Reset)?;
    let tracer = Tracer::start(&bed.node, &["--interface", "e0", "--node-ports", port::ALL])?;
    let to_node = |port| Dial::new(&bed.far, (NODE_V4, port)).limit(LIMIT);
    for _ in 0..5 {
        let refused = to_node(port::CLOSED).connect()?.err();
        assert_eq!(refused, Some(Errno::ECONNREFUSED));
        established_then_reset(&to_node(port::NODE))?;
    }
    let metrics = tracer.metrics()?;
    let resets = counts(&metrics, RESETS, "origin");
    let node = |port| ((port, "node".to_owned()), 5);
    assert_eq!(resets, Counts::from([node(port::CLOSED), node(port::NODE)]));
    let dials = counts(&metrics, DIALS, "outcome");
    let ends = [(port::CLOSED, "refused"), (port::NODE, "established")];
    assert_eq!(
        dials,
        ends.map(|(port, word)| ((port, word.to_owned()), 5)).into()
    );
    Ok(())
}
