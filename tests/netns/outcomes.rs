//! Every outcome and every class in known numbers, in both address families,
//! for each kind of rule set and of wire tap: the metrics must match exactly.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use testbed::{
    KubeProxy, Metrics, Mode, Policy, RawClient, ServicePort, Topology, Tracer,
    addr::{FAR_POD_V4, FAR_POD_V6, NODE_V4, NODE_V6, phantom_v4, phantom_v6, pod_v4, pod_v6},
    peer::{
        Behaviour, Dial, Server,
        thrift::{Message, framed},
    },
    raw::Answer,
    seen,
    segment::flags,
    topology::PodLink,
};

const SHOP: u16 = 30080;
const EMPTY: u16 = 30081;
const AWAY: u16 = 30082;
const CLOSED: u16 = 30084;
const FAR: u16 = 30085;

const ARGS: [&str; 4] = ["--idle-after", "1s", "--handshake-timeout", "3s"];
const LIMIT: Duration = Duration::from_secs(30);
const DRAINED: &str = "tracer_handshakes_pending";

/// Handshakes by port, outcome and class.
type Handshakes = BTreeMap<(u16, &'static str, &'static str), f64>;

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// The node with its services, and servers behind them.
struct Scene {
    bed: Topology,
    _servers: Vec<Server>,
}

impl Scene {
    fn new(mode: Mode, link: PodLink) -> Result<Self> {
        let bed = Topology::builder()
            .pods(2)
            .pod_link(link)
            .second_node()
            .build()?;
        let mut servers = Vec::new();
        for (i, pod) in bed.pods.iter().enumerate() {
            servers.push(Server::start(pod, at(pod_v4(i), 9090), Behaviour::Echo)?);
            servers.push(Server::start(pod, at(pod_v6(i), 9090), Behaviour::Echo)?);
        }
        if let Some(beyond) = &bed.beyond {
            servers.push(Server::start(
                &beyond.pod,
                at(FAR_POD_V4, 9090),
                Behaviour::Echo,
            )?);
            servers.push(Server::start(
                &beyond.pod,
                at(FAR_POD_V6, 9090),
                Behaviour::Echo,
            )?);
        }
        let pod =
            |port: ServicePort, to| port.backend(at(pod_v4(0), to)).backend(at(pod_v6(0), to));
        let far = |port: ServicePort| {
            port.backend(at(FAR_POD_V4, 9090))
                .backend(at(FAR_POD_V6, 9090))
        };
        let port = |name: &str, number| ServicePort::new(&format!("default/{name}:thrift"), number);
        let shop = pod(port("shop", SHOP), 9090)
            .backend(at(pod_v4(1), 9090))
            .backend(at(pod_v6(1), 9090));
        KubeProxy::new(mode)
            .port(shop)
            .port(port("empty", EMPTY))
            .port(far(port("away", AWAY)).policy(Policy::Local))
            .port(pod(port("closed", CLOSED), 9099))
            .port(far(port("far", FAR)))
            .apply(&bed.node)?;
        Ok(Self {
            bed,
            _servers: servers,
        })
    }

    /// Drives everything from one address family.
    fn drive(&self, node: IpAddr, phantom: IpAddr) -> Result<()> {
        let dial = |port| Dial::new(&self.bed.client, at(node, port));
        let call = Message::call("getUser").strict();
        let frame = framed(&call);
        for port in [SHOP, FAR] {
            for _ in 0..3 {
                dial(port).send(&[&call])?;
            }
            // An unbuffered framed client: the length alone, then the message.
            dial(port).send(&[&frame[..4], &frame[4..]])?;
            dial(port).send(&[&Message::call("getUser").compact()])?;
            dial(port).send(&[&framed(&Message::call("getUser").old())])?;
            dial(port).send(&[b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 80\r\n", &call])?;
            for _ in 0..2 {
                dial(port).send(&[b"GET / HTTP/1.1\r\n\r\n"])?;
            }
            for _ in 0..4 {
                dial(port).connect_fin()?;
            }
            for _ in 0..2 {
                dial(port).connect_rst()?;
            }
        }
        dial(SHOP).send(&[PROXY_V2_LOCAL])?;
        for _ in 0..2 {
            dial(SHOP).idle(Duration::from_millis(1500))?;
        }
        dial(SHOP).idle_then(Duration::from_millis(1500), &call)?;
        for _ in 0..3 {
            assert!(dial(CLOSED).connect()?.is_err());
        }
        self.drive_raw(node, phantom)
    }

    /// What a kernel's own TCP would not do.
    fn drive_raw(&self, node: IpAddr, phantom: IpAddr) -> Result<()> {
        let raw = RawClient::open(&self.bed.client)?;
        let isn = 0xffff_ff00;
        for source in 4001..4004 {
            let answer = raw.half_open(at(phantom, source), at(node, SHOP), isn)?;
            assert!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
        }
        for source in 4010..4012 {
            raw.syn_only(at(phantom, source), at(node, EMPTY), isn)?;
        }
        for source in 4020..4022 {
            raw.syn_only(at(phantom, source), at(node, AWAY), isn)?;
            // The same attempt again, then a new one on the same tuple.
            raw.syn_only(at(phantom, source), at(node, AWAY), isn)?;
        }
        raw.syn_only(at(phantom, 4021), at(node, AWAY), 77)?;
        raw.cancelled(at(phantom, 4030), at(node, AWAY), isn, flags::RST)?;
        raw.cancelled(at(phantom, 4031), at(node, AWAY), isn, flags::FIN)?;
        let answer = raw.syn(at(phantom, 4040), at(node, SHOP), isn)?;
        assert!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
        Ok(())
    }
}

/// PROXY protocol version 2, command LOCAL, no addresses.
const PROXY_V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// What one family's [`Scene::drive`] amounts to.
fn expected(families: f64) -> Handshakes {
    let counts = [
        (SHOP, "established", "thrift", 7.0),
        (SHOP, "established", "other", 2.0),
        (SHOP, "established", "health_check", 7.0),
        (SHOP, "established", "idle", 3.0),
        (SHOP, "half_open", "health_check", 3.0),
        (SHOP, "unacked", "unknown", 1.0),
        (FAR, "established", "thrift", 7.0),
        (FAR, "established", "other", 2.0),
        (FAR, "established", "health_check", 6.0),
        (CLOSED, "refused", "unknown", 3.0),
        (EMPTY, "unreachable", "unknown", 2.0),
        (AWAY, "timed_out", "unknown", 2.0),
        (AWAY, "cancelled", "unknown", 3.0),
    ];
    counts
        .into_iter()
        .map(|(p, o, t, n)| ((p, o, t), n * families))
        .collect()
}

fn counted(metrics: &Metrics) -> BTreeMap<(u16, String, String), f64> {
    metrics
        .series("tracer_handshakes_total", &[])
        .filter(|(_, value)| *value != 0.0)
        .map(|(labels, value)| {
            let port = labels["node_port"].parse().unwrap_or(0);
            (
                (port, labels["outcome"].clone(), labels["traffic"].clone()),
                value,
            )
        })
        .collect()
}

fn check(mode: Mode, link: PodLink, tap: &str) -> Result<()> {
    let scene = Scene::new(mode, link)?;
    let args = [
        &ARGS[..],
        &["--wire-tap", tap, "--node-ports", "30080-30089"],
    ]
    .concat();
    let tracer = Tracer::start(&scene.bed.node, &args)?;
    scene.drive(NODE_V4.into(), phantom_v4(1).into())?;
    scene.drive(NODE_V6.into(), phantom_v6(1).into())?;
    let closed =
        |m: &Metrics| m.sum(DRAINED, &[]) == 0.0 && m.sum("tracer_connections_open", &[]) == 0.0;
    let metrics = tracer.metrics_when(LIMIT, "everything ended", closed)?;
    let expected: BTreeMap<_, _> = expected(2.0)
        .into_iter()
        .map(|((port, outcome, traffic), n)| ((port, outcome.to_owned(), traffic.to_owned()), n))
        .collect();
    let (status, stderr) = tracer.stop()?;
    assert!(status.success(), "{stderr}");
    assert_eq!(counted(&metrics), expected, "{stderr}");
    check_rest(&metrics);
    seen::right(&["wire"])
}

/// The other families of the same traffic.
fn check_rest(metrics: &Metrics) {
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels);
    for port in ["30080", "30081", "30082", "30084", "30085"] {
        let of = [("node_port", port)];
        let accounted = sum("tracer_handshakes_total", &of)
            + sum("tracer_handshakes_pending", &of)
            + sum("tracer_untracked_syns_total", &of);
        assert_eq!(sum("tracer_attempts_total", &of), accounted, "{port}");
    }
    // Two of each family's three idle connections closed without a byte.
    let connections = |traffic| {
        sum(
            "tracer_connections_total",
            &[("node_port", "30080"), ("traffic", traffic)],
        )
    };
    assert_eq!((connections("thrift"), connections("idle")), (16.0, 4.0));
    assert_eq!(
        (connections("other"), connections("health_check")),
        (4.0, 14.0)
    );
    let closes = sum("tracer_connection_closes_total", &[("node_port", "30080")]);
    assert_eq!(
        closes,
        sum("tracer_connections_total", &[("node_port", "30080")])
    );
    let retransmits = |port, kind| {
        sum(
            "tracer_retransmits_total",
            &[("node_port", port), ("kind", kind)],
        )
    };
    assert_eq!(retransmits("30082", "syn"), 4.0);
    let resets = |port, origin| {
        sum(
            "tracer_resets_total",
            &[("node_port", port), ("origin", origin)],
        )
    };
    assert_eq!(resets("30084", "backend"), 6.0);
    // Per family: three half-open probes and two RST closes.
    assert_eq!(resets("30080", "client"), 10.0);
    assert_eq!(resets("30082", "client"), 2.0);
    let calls = |protocol| {
        let labels = [
            ("node_port", "30085"),
            ("type", "call"),
            ("protocol", protocol),
        ];
        sum("tracer_thrift_messages_total", &labels)
    };
    // The echo server sends every call back; both directions count.
    assert_eq!(
        (calls("binary"), calls("compact")),
        (2.0 * 2.0 * 5.0 + 4.0, 4.0)
    );
    let answers = |answer| {
        sum(
            "tracer_handshake_answer_seconds_count",
            &[("answer", answer)],
        )
    };
    assert_eq!((answers("rst"), answers("icmp")), (6.0, 4.0));
    for stage in ["contention", "malformed", "fragment"] {
        assert_eq!(
            sum("tracer_events_lost_total", &[("stage", stage)]),
            0.0,
            "{stage}"
        );
    }
}

#[test]
fn vm_iptables_nft() -> Result<()> {
    check(Mode::IptablesNft, PodLink::Bridge, "auto")
}

#[test]
fn vm_nftables_packet_socket() -> Result<()> {
    check(Mode::Nftables, PodLink::Veth, "packet")
}

#[test]
fn iptables_legacy_tcx() -> Result<()> {
    check(Mode::IptablesLegacy, PodLink::Veth, "tcx")
}

#[test]
fn iptables_legacy_packet_socket() -> Result<()> {
    check(Mode::IptablesLegacy, PodLink::Bridge, "packet")
}

#[test]
fn nftables_tcx() -> Result<()> {
    check(Mode::Nftables, PodLink::Bridge, "tcx")
}
