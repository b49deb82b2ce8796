//! What the system takes away: interface and address, namespaces.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::{
    KubeProxy, Metrics, Mode, Netns, ServicePort, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    leftovers::attached,
    peer::{Behaviour, Dial, Server},
    process::poll_until,
};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31520-31522";
const OPEN: u16 = 31520;
const CLOSED: u16 = 31521;
const LIMIT: Duration = Duration::from_secs(30);

fn attempts(metrics: &Metrics) -> f64 {
    metrics.sum("tracer_attempts_total", &[])
}

fn lines(tracer: &Tracer<'_>, with: &str) -> usize {
    let said = tracer.process().stderr();
    said.lines().filter(|line| line.contains(with)).count()
}

/// So many more refusals are counted, and nothing is out of balance.
fn refuses(bed: &Topology, tracer: &Tracer<'_>, count: usize) -> Result<Metrics> {
    let before = attempts(&tracer.metrics()?);
    for _ in 0..count {
        let ended = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
        ensure!(ended.is_err(), "connected");
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
    let said = |line: &str| lines(&tracer, line);
    // The node's, IPv4 and IPv6.
    let addresses = |m: &Metrics| m.sum("tracer_node_addresses", &[]);
    let had = addresses(&tracer.metrics()?);
    bed.node.ip("link del eth0\n")?;
    poll_until(LIMIT, "not noticed", || {
        Ok((said("wire tap removed") == 1).then_some(()))
    })?;
    let is_tapped = |m: &Metrics| m.sum("tracer_hook_attached", &[("hook", "wire")]) == 1.0;
    let metrics = tracer.metrics_when(LIMIT, "tapped still", |m| !is_tapped(m))?;
    ensure!(attempts(&metrics) == 3.0, "counts were lost");
    let gone = |m: &Metrics| addresses(m) <= had - 2.0;
    let left = addresses(&tracer.metrics_when(LIMIT, "addresses stay", gone)?);
    bed.client.ip(&format!(
        "link add eth0 address 02:00:00:3c:00:0a type veth peer name eth0 netns {}\n\
         link set eth0 up\naddr add 10.60.0.10/24 dev eth0\n",
        bed.node.name()
    ))?;
    // Another address first, then the one of before.
    bed.node
        .ip("link set eth0 up\naddr add 10.60.0.2/24 dev eth0\n")?;
    poll_until(LIMIT, "not noticed", || {
        Ok((said("wire tap attached") == 2).then_some(()))
    })?;
    tracer.metrics_when(LIMIT, "not tapped", is_tapped)?;
    // One IPv4 address, and the one that the link makes for itself.
    let more = |m: &Metrics| addresses(m) > left;
    tracer.metrics_when(LIMIT, "the address is not known", more)?;
    bed.node
        .ip("addr del 10.60.0.2/24 dev eth0\naddr add 10.60.0.1/24 dev eth0\n")?;
    // The daemon learns of the address within a second.
    poll_until(LIMIT, "the address is not known", || {
        let _ = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
        std::thread::sleep(Duration::from_millis(200));
        Ok((attempts(&tracer.metrics()?) > 3.0).then_some(()))
    })?;
    refuses(&bed, &tracer, 3)?;
    for line in ["removed", "added"].map(|what| format!("own address {what}\" address=10.60.0.")) {
        ensure!(said(&line) == 2, "{line}: {}", tracer.process().stderr());
    }
    ensure!(!attached(&bed.node)?.is_empty(), "not attached");
    Ok(())
}

/// Descriptors of the daemon.
fn descriptors(tracer: &Tracer<'_>) -> Result<usize> {
    let fds = format!("/proc/{}/fd", tracer.process().pid());
    Ok(std::fs::read_dir(fds).context("descriptors")?.count())
}

/// Another pod in the place of the first, under its address.
fn pod_again(node: &Netns) -> Result<Netns> {
    let pod = Netns::new("pod0")?;
    node.ip(&format!(
        "link add veth9 type veth peer name eth0 netns {}\n\
         link set veth9 up master cbr0\nneigh flush dev cbr0\n",
        pod.name()
    ))?;
    pod.ip(&format!(
        "link set eth0 up\naddr add {}/24 dev eth0\n\
         route add default via 10.244.0.1 dev eth0 onlink\n",
        pod_v4(0)
    ))?;
    Ok(pod)
}

/// The daemon looks into so many pods' namespaces, and said so often that one was
/// found and that one is gone.
fn looks_into(tracer: &Tracer<'_>, pods: u32, found: usize, gone: usize) -> Result<()> {
    tracer.metrics_when(LIMIT, "not as many namespaces", |m| {
        m.get("tracer_backend_namespaces", &[]) == Some(f64::from(pods))
    })?;
    poll_until(LIMIT, "not told", || {
        let told = |what| {
            let line = format!(
                "network namespace of a backend {what}\" backend={}",
                pod_v4(0)
            );
            lines(tracer, &line)
        };
        Ok((told("found") == found && told("gone") == gone).then_some(()))
    })
}

#[test]
fn pods_go_with_their_namespaces_and_others_come() -> Result<()> {
    let bed = Topology::builder().pods(1).build()?;
    let serve = |pod: &Netns| Server::start(pod, (pod_v4(0), 9090), Behaviour::Echo);
    let server = serve(&bed.pods[0])?;
    let service = ServicePort::new("default/shop:thrift", OPEN).backend((pod_v4(0), 9090));
    KubeProxy::new(Mode::Nftables)
        .port(service)
        .apply(&bed.node)?;
    let Topology {
        client, node, pods, ..
    } = bed;
    let tracer = Tracer::start(&node, &["--node-ports", PORTS, "--handshake-timeout", "1s"])?;
    let dial = Dial::new(&client, (NODE_V4, OPEN));
    dial.connect_fin()?;
    tracer.metrics_when(LIMIT, "not counted", |m| attempts(m) == 1.0)?;
    looks_into(&tracer, 1, 1, 0)?;
    let before = descriptors(&tracer)?;
    drop(server);
    drop(pods);
    let silent = Dial::new(&client, (NODE_V4, OPEN)).limit(Duration::from_secs(2));
    ensure!(silent.connect()?.is_err(), "connected");
    let metrics = tracer.metrics_when(LIMIT, "not decided", |m| {
        attempts(m) == 2.0 && m.sum("tracer_handshakes_pending", &[]) == 0.0
    })?;
    metrics.balanced()?;
    looks_into(&tracer, 0, 1, 1)?;
    // No descriptor keeps the namespace.
    poll_until(LIMIT, "descriptors stay", || {
        Ok((descriptors(&tracer)? <= before).then_some(()))
    })?;
    let pod = pod_again(&node)?;
    let _server = serve(&pod)?;
    // The node's neighbour entry may still be that of the pod before.
    poll_until(LIMIT, "the new pod cannot be reached", || {
        let direct = Dial::new(&node, (pod_v4(0), 9090)).connect()?;
        Ok(direct.ok().map(drop))
    })?;
    dial.connect_fin()?;
    let established = |m: &Metrics| {
        let established = [("outcome", "established")];
        m.sum("tracer_handshakes_total", &established)
    };
    let metrics = tracer.metrics_when(LIMIT, "not counted", |m| established(m) == 2.0)?;
    metrics.balanced()?;
    looks_into(&tracer, 1, 2, 1)?;
    let errors = tracer.process().stderr();
    ensure!(!errors.contains("level=error"), "{errors}");
    Ok(())
}
