//! What the system takes away: interface and address, namespaces, time.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_gettime, clock_settime},
};
use testbed::{
    KubeProxy, Metrics, Mode, ServicePort, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    leftovers::attached,
    peer::{Behaviour, Dial, Server},
};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31520-31524";
const OPEN: u16 = 31520;
const CLOSED: u16 = 31521;
const LIMIT: Duration = Duration::from_secs(30);

fn attempts(metrics: &Metrics) -> f64 {
    metrics.sum("tracer_attempts_total", &[])
}

/// So many more refusals are counted, and nothing is out of balance.
fn refuses(bed: &Topology, tracer: &Tracer<'_>, count: usize) -> Result<Metrics> {
    let before = attempts(&tracer.metrics()?);
    for _ in 0..count {
        let ended = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
        anyhow::ensure!(ended.is_err(), "connected");
    }
    let metrics = tracer.metrics_when(LIMIT, "not counted", |metrics| {
        attempts(metrics) == before + count as f64
            && metrics.sum("tracer_handshakes_pending", &[]) == 0.0
    })?;
    metrics.balanced()?;
    Ok(metrics)
}

#[test]
fn the_edge_interface_goes_and_comes_back() -> Result<()> {
    let bed = Topology::builder().pods(0).build()?;
    let options = ["--node-ports", PORTS, "--interface", "eth0"];
    let tracer = Tracer::start(&bed.node, &options)?;
    refuses(&bed, &tracer, 3)?;
    let said = |line: &str| {
        let lines = tracer.process().stderr();
        lines.lines().filter(|l| l.contains(line)).count()
    };
    bed.node.ip("link del eth0\n")?;
    testbed::process::poll_until(LIMIT, "not noticed", || {
        Ok((said("wire tap removed") == 1).then_some(()))
    })?;
    let is_tapped = |m: &Metrics| m.sum("tracer_hook_attached", &[("hook", "wire")]) == 1.0;
    let metrics = tracer.metrics_when(LIMIT, "tapped still", |m| !is_tapped(m))?;
    anyhow::ensure!(attempts(&metrics) == 3.0, "counts were lost");
    bed.client.ip(&format!(
        "link add eth0 address 02:00:00:3c:00:0a type veth peer name eth0 netns {}\n\
         link set eth0 up\naddr add 10.60.0.10/24 dev eth0\n",
        bed.node.name()
    ))?;
    // Another address first, then the one of before.
    bed.node
        .ip("link set eth0 up\naddr add 10.60.0.2/24 dev eth0\n")?;
    testbed::process::poll_until(LIMIT, "not noticed", || {
        Ok((said("wire tap attached") == 2).then_some(()))
    })?;
    tracer.metrics_when(LIMIT, "not tapped", is_tapped)?;
    bed.node
        .ip("addr del 10.60.0.2/24 dev eth0\naddr add 10.60.0.1/24 dev eth0\n")?;
    // The daemon learns of the address within a second.
    testbed::process::poll_until(LIMIT, "the address is not known", || {
        let _ = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
        std::thread::sleep(Duration::from_millis(200));
        Ok((attempts(&tracer.metrics()?) > 3.0).then_some(()))
    })?;
    refuses(&bed, &tracer, 3)?;
    for line in ["removed", "added"].map(|what| format!("own address {what}\" address=10.60.0.")) {
        anyhow::ensure!(said(&line) == 2, "{line}: {}", tracer.process().stderr());
    }
    anyhow::ensure!(!attached(&bed.node)?.is_empty(), "not attached");
    Ok(())
}

/// Descriptors of the daemon.
fn descriptors(tracer: &Tracer<'_>) -> Result<usize> {
    let fds = format!("/proc/{}/fd", tracer.process().pid());
    Ok(std::fs::read_dir(fds).context("descriptors")?.count())
}

#[test]
fn pods_go_with_their_namespaces() -> Result<()> {
    let bed = Topology::builder().pods(1).build()?;
    let server = Server::start(&bed.pods[0], (pod_v4(0), 9090), Behaviour::Echo)?;
    let service = ServicePort::new("default/shop:thrift", OPEN).backend((pod_v4(0), 9090));
    KubeProxy::new(Mode::Nftables)
        .port(service)
        .apply(&bed.node)?;
    let Topology {
        client, node, pods, ..
    } = bed;
    let tracer = Tracer::start(&node, &["--node-ports", PORTS, "--handshake-timeout", "1s"])?;
    Dial::new(&client, (NODE_V4, OPEN)).connect_fin()?;
    tracer.metrics_when(LIMIT, "not counted", |m| attempts(m) == 1.0)?;
    let before = descriptors(&tracer)?;
    drop(server);
    drop(pods);
    let silent = Dial::new(&client, (NODE_V4, OPEN)).limit(Duration::from_secs(2));
    anyhow::ensure!(silent.connect()?.is_err(), "connected");
    let metrics = tracer.metrics_when(LIMIT, "not decided", |m| {
        attempts(m) == 2.0 && m.sum("tracer_handshakes_pending", &[]) == 0.0
    })?;
    metrics.balanced()?;
    // No descriptor keeps the namespace.
    testbed::process::poll_until(LIMIT, "descriptors stay", || {
        Ok((descriptors(&tracer)? <= before).then_some(()))
    })?;
    let errors = tracer.process().stderr();
    anyhow::ensure!(!errors.contains("level=error"), "{errors}");
    Ok(())
}

/// Sets the clock of the whole machine: in a guest only.
fn step(by: i64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = nix::sys::time::TimeSpec::seconds(now.tv_sec() + by);
    clock_settime(ClockId::CLOCK_REALTIME, then).context("set the clock")
}

#[test]
fn vm_the_clock_is_set_forth_and_back() -> Result<()> {
    if std::env::var_os("TRACER_GUEST").is_none() {
        println!("skipped: it sets the clock of the machine; runs in guests");
        return Ok(());
    }
    const DAY: i64 = 86_400;
    let bed = Topology::builder().pods(0).build()?;
    let tracer = Tracer::start(&bed.node, &["--node-ports", PORTS])?;
    let mut before = refuses(&bed, &tracer, 3)?;
    for by in [DAY, -2 * DAY, DAY] {
        step(by)?;
        let after = refuses(&bed, &tracer, 3)?;
        let fallen = after.fallen_since(&before);
        anyhow::ensure!(fallen.is_empty(), "{fallen:?}");
        before = after;
    }
    let refused = [("outcome", "refused")];
    assert_eq!(before.sum("tracer_handshakes_total", &refused), 12.0);
    let answers = "tracer_handshake_answer_seconds_sum";
    let seconds = before.sum(answers, &[]);
    anyhow::ensure!(seconds < 60.0, "{seconds} s for 12 answers");
    let errors = tracer.process().stderr();
    anyhow::ensure!(!errors.contains("level=error"), "{errors}");
    Ok(())
}
