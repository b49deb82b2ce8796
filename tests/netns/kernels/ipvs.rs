//! kube-proxy's ipvs mode, which the build machines' kernel lacks: the node's own
//! address is the virtual server, IPVS does the NAT.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    Metrics, Netns, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    peer::{Behaviour, Dial, Server, thrift::Message},
    seen,
};

/// Watched; two pods answer.
const SHOP: u16 = 31720;
/// Nothing listens at the target port.
const CLOSED: u16 = 31721;
/// No endpoints.
const EMPTY: u16 = 31722;
const PORTS: &str = "31720-31722";
const LIMIT: Duration = Duration::from_secs(20);

/// A virtual server with these real servers, as kube-proxy makes them.
fn service(node: &Netns, port: u16, backends: &[SocketAddr]) -> Result<()> {
    let server = SocketAddr::from((NODE_V4, port)).to_string();
    node.run(&["ipvsadm", "-A", "-t", &server, "-s", "rr"])?;
    for backend in backends {
        let backend = backend.to_string();
        node.run(&["ipvsadm", "-a", "-t", &server, "-r", &backend, "-m"])?;
    }
    Ok(())
}

fn handshakes(metrics: &Metrics, port: u16, outcome: &str, traffic: &str) -> f64 {
    let port = port.to_string();
    let labels = [("node_port", port.as_str()), ("outcome", outcome)];
    let labels = [&labels[..], &[("traffic", traffic)]].concat();
    metrics.sum("tracer_handshakes_total", &labels)
}

#[test]
fn vm_ipvs() -> Result<()> {
    if std::env::var_os("TRACER_GUEST").is_none() {
        println!("skipped: this kernel has no IPVS; runs in guests");
        return Ok(());
    }
    let bed = Topology::builder().pods(2).build()?;
    // As kube-proxy sets it: conntrack follows what IPVS translates.
    bed.node.sysctls(&[("net/ipv4/vs/conntrack", "1")])?;
    let [first, second] = [0, 1].map(|i| SocketAddr::from((pod_v4(i), 9090)));
    let closed = SocketAddr::from((pod_v4(0), 9099));
    service(&bed.node, SHOP, &[first, second])?;
    service(&bed.node, CLOSED, &[closed])?;
    service(&bed.node, EMPTY, &[])?;
    let _servers = [
        Server::start(&bed.pods[0], first, Behaviour::Echo)?,
        Server::start(&bed.pods[1], second, Behaviour::Echo)?,
    ];
    let options = ["--node-ports", PORTS, "--handshake-timeout", "1s"];
    let tracer = Tracer::start(&bed.node, &options)?;
    let dial = |port| Dial::new(&bed.client, (NODE_V4, port)).limit(LIMIT);
    let call = Message::call("getUser").strict();
    for _ in 0..4 {
        dial(SHOP).send(&[&call])?;
        dial(SHOP).connect_fin()?;
        let refused = dial(CLOSED).connect()?.err();
        ensure!(refused == Some(Errno::ECONNREFUSED), "{refused:?}");
    }
    for _ in 0..2 {
        ensure!(dial(EMPTY).connect()?.is_err(), "connected");
    }
    let metrics = tracer.metrics_when(LIMIT, "not all is decided", |metrics| {
        let named = |port: u16, verdict| {
            let labels = [("node_port", &*port.to_string()), ("verdict", verdict)];
            metrics.sum("tracer_handshake_failures_total", &labels)
        };
        metrics.sum("tracer_handshakes_pending", &[]) == 0.0
            && named(CLOSED, "nothing_listens") == 4.0
            // IPVS itself says port unreachable: it has no real server to send to.
            && named(EMPTY, "no_endpoints") == 2.0
    })?;
    metrics.balanced()?;
    let counted = |port, outcome, traffic| handshakes(&metrics, port, outcome, traffic);
    assert_eq!(counted(SHOP, "established", "thrift"), 4.0);
    assert_eq!(counted(SHOP, "established", "health_check"), 4.0);
    assert_eq!(counted(CLOSED, "refused", "unknown"), 4.0);
    assert_eq!(counted(EMPTY, "unreachable", "unknown"), 2.0);
    assert_eq!(metrics.sum("tracer_attempts_total", &[]), 14.0);
    // Where IPVS sends to, conntrack's entry told when the SYN left for the pod.
    seen::right(&["wire", "net_dev_queue"])
}
