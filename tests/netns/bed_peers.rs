//! The bed's packets and peers as independent programs see them: tshark, HAProxy,
//! Apache Thrift, Prometheus.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use testbed::{
    Capture, KubeProxy, Mode, Netns, RawClient, ServicePort, Topology,
    addr::{NODE_V4, NODE_V6, phantom_v4, phantom_v6, pod_v4},
    peer::{Behaviour, Dial, Server},
    peers::{
        Prometheus,
        haproxy::{Check, Haproxy, Listener},
        prometheus, thrift,
    },
    segment::{Segment, unreachable},
};

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// 30081: no endpoints; 30083: pod 0, port 9090; 30084: a closed port.
fn write_services(node: &Netns) -> anyhow::Result<()> {
    let port = |name: &str, number| ServicePort::new(&format!("default/{name}:thrift"), number);
    KubeProxy::new(Mode::IptablesNft)
        .port(port("empty", 30081))
        .port(port("here", 30083).backend(at(pod_v4(0), 9090)))
        .port(port("closed", 30084).backend(at(pod_v4(0), 9099)))
        .apply(node)
}

#[test]
fn tshark_sees_each_way_of_dialling() {
    let bed = Topology::builder().build().unwrap();
    let _server = Server::start(&bed.pods[0], at(pod_v4(0), 9090), Behaviour::Echo).unwrap();
    write_services(&bed.node).unwrap();
    let capture = Capture::start(&bed.node, "eth0", "tcp or icmp").unwrap();
    let dial = Dial::new(&bed.client, at(NODE_V4, 30083));
    dial.connect_fin().unwrap();
    assert_eq!(dial.send(&[b"a", b"b"]).unwrap(), b"ab");
    Dial::new(&bed.client, at(NODE_V4, 30084))
        .connect()
        .unwrap()
        .unwrap_err();
    Dial::new(&bed.client, at(NODE_V4, 30081))
        .connect()
        .unwrap()
        .unwrap_err();
    let raw = RawClient::open(&bed.client).unwrap();
    raw.half_open(at(phantom_v4(1), 4001), at(NODE_V4, 30083), 77)
        .unwrap();
    let captured = capture.stop().unwrap();
    assert_eq!(captured.completeness().unwrap(), [23, 31, 37, 1, 39]);
}

#[test]
fn haproxy_and_thrift_talk() {
    let python = thrift::python().unwrap();
    let bed = Topology::builder().client_addresses(2).build().unwrap();
    let wire = thrift::Wire::Framed;
    let pod = &bed.pods[0];
    let _server = thrift::Server::start(pod, &python, at(pod_v4(0), 9090), wire).unwrap();
    write_services(&bed.node).unwrap();
    let listener = |name: &str, port, check| Listener {
        name: name.to_owned(),
        bind: at([10, 60, 0, 10], port),
        target: at(NODE_V4, port),
        source: Some([10, 60, 0, 11].into()),
        check,
    };
    let check = Duration::from_millis(200);
    let haproxy = Haproxy::start(
        &bed.client,
        &[
            listener("good", 30083, Check::Full(check)),
            listener("bad", 30084, Check::HalfOpen(check)),
        ],
    )
    .unwrap();
    let load = thrift::Load {
        wire,
        connections: Some(4),
        calls: 3,
        pause: Duration::ZERO,
    };
    let to = at([10, 60, 0, 10], 30083);
    let client = thrift::Client::start(&bed.client, &python, to, load).unwrap();
    let counts = client.finish(Duration::from_secs(30)).unwrap();
    assert_eq!((counts.connections, counts.ok, counts.failed), (4, 12, 0));
    let stats = testbed::process::poll_until(Duration::from_secs(20), "no failed check", || {
        let stats = haproxy.stats()?;
        Ok((stats["bad"].status == "DOWN").then_some(stats))
    })
    .unwrap();
    assert_eq!(stats["good"].sessions, 4);
    assert!(stats["bad"].failed_checks > 0);
}

/// Every kind of segment and fragment, both families, as tshark reads them with its
/// checksum tests on.
#[test]
fn tshark_accepts_built_packets() {
    let bed = Topology::builder().build().unwrap();
    let raw = RawClient::open(&bed.client).unwrap();
    let capture = Capture::start(&bed.client, "eth0", "").unwrap();
    for (src, dst) in [
        (at(phantom_v4(1), 4001), at(NODE_V4, 30080)),
        (at(phantom_v6(1), 4001), at(NODE_V6, 30080)),
    ] {
        let plain = Segment::syn(src, dst, 1).with_payload(b"odd");
        raw.send(&plain).unwrap();
        raw.send(&Segment {
            vlan: vec![7, 8],
            ..plain.clone()
        })
        .unwrap();
        raw.send(&Segment {
            bad_checksum: true,
            ..plain.clone()
        })
        .unwrap();
        let optional = Segment {
            ip_options: vec![7, 7, 4, 0, 0, 0, 0],
            ext_headers: vec![
                (0, vec![0, 1, 4, 0, 0, 0, 0]),
                (60, vec![0, 1, 4, 0, 0, 0, 0]),
            ],
            ..plain.clone()
        };
        raw.send(&optional).unwrap();
        for fragment in plain.with_payload(&[7; 60]).fragments(32) {
            raw.send_ip(&fragment).unwrap();
        }
        raw.send_ip(&unreachable(dst.ip(), src.ip(), 1, &optional.ip_bytes()))
            .unwrap();
    }
    let captured = capture.stop().unwrap();
    let mut tshark = std::process::Command::new("tshark");
    for option in ["tcp.check_checksum:TRUE", "ip.check_checksum:TRUE"] {
        tshark.args(["-o", option]);
    }
    tshark
        .args(["-n", "-T", "fields", "-E", "separator=|", "-r"])
        .arg(captured.path());
    tshark.args(["-Y", "eth.src == 02:00:00:3c:00:0a && tcp.port == 4001"]);
    for field in [
        "ip.checksum.status",
        "tcp.checksum.status",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
        "tcp.len",
        "vlan.id",
        "_ws.malformed",
    ] {
        tshark.args(["-e", field]);
    }
    let text = testbed::process::run(tshark, "").unwrap();
    // 1 is good, 0 is bad.
    let expected = "\
1|1|||3||
1|1|||3|8|
1|0|||3||
1|1|||3||
1|1|||60||
1,1||1||||
|1|||3||
|1|||3|8|
|0|||3||
|1|||3||
|1|||60||
|1||1|||
";
    assert_eq!(text, expected, "{text}");
}

#[test]
fn prometheus_answers_queries() {
    let bed = Topology::builder().build().unwrap();
    // It scrapes itself: a target that is sure to be there.
    let prometheus = Prometheus::start(&bed.node, &[prometheus::LISTEN], &[]).unwrap();
    let up = testbed::process::poll_until(Duration::from_secs(20), "no scrape", || {
        Ok(prometheus.value("up{job=\"tracer\"}").ok())
    });
    assert_eq!(up.unwrap(), 1.0);
    assert!(prometheus.value("absent(").is_err());
}
