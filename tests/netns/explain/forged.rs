//! Nobody changes what is said of others: not a pod that sends what it likes
//! (CAP_NET_RAW), nor a user without rights who has any address in a network
//! namespace of its own. Each attack beside a real fault and healthy traffic.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Netns, Policy, RawClient, Topology, Tracer,
    peer::{Behaviour, Dial, Server},
    raw::{Answer, send_routed},
    rules,
    segment::{Segment, flags},
    topology::PodLink,
};

use super::{
    expect::{self, Expected, failed},
    scenario::{OPTIONS, Scenario},
    scene::{Reply, Scene, call},
};

/// Real attempts at the faulty port, from sources that no kernel owns.
const ATTEMPTS: u32 = 3;
const ISN: u32 = 1_000_000;
const FORGED: u32 = 77;

/// What comes from the load balancer while somebody else is at work.
struct Attacked<'a> {
    scene: &'a Scene,
    raw: RawClient,
}

impl<'a> Attacked<'a> {
    fn new(scene: &'a Scene) -> Result<Self> {
        let raw = RawClient::open(&scene.bed.client)?;
        Ok(Self { scene, raw })
    }

    fn source(&self, i: u32) -> SocketAddr {
        self.scene.phantom(i, 5000 + i as u16)
    }

    /// Each source is answered at the healthy port, then tries the faulty one; `between`
    /// and `after` get the source.
    fn attempts(
        &self,
        between: impl Fn(SocketAddr) -> Result<()>,
        after: impl Fn(SocketAddr) -> Result<()>,
    ) -> Result<()> {
        let healthy = self.scene.node_port(self.scene.port + 1);
        for i in 0..ATTEMPTS {
            let source = self.source(i);
            let answer = self.raw.half_open(source, healthy, 9)?;
            ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
            between(source)?;
            let to = self.scene.node_port(self.scene.port);
            self.raw.syn_only(source, to, ISN)?;
            after(source)?;
        }
        Ok(())
    }
}

/// A rule drops what goes to the backend, after DNAT.
fn dropped() -> Vec<Expected> {
    vec![failed("dropped_by_rule", 3).by(0, 9090)]
}

/// Outcomes and backends of the scenario's two ports, as `explain` counts them. (A
/// backend's `attempts` are SYNs that NAT has sent to it, whoever made them.)
fn counts(scene: &Scene, tracer: &Tracer<'_>) -> Result<String> {
    let (_, told) = expect::explain(tracer, &["--last", "60s"])?;
    // Beds beside this one have the same addresses: what their clients dial shows, too.
    let own = [scene.port, scene.port + 1];
    let ports = told
        .ports
        .iter()
        .filter(|port| own.contains(&port.node_port));
    let ports = ports.map(|port| {
        let backends = port.backends.iter().map(|b| {
            let (at, place) = (b.address, &b.place);
            format!("{at} {place} {} {:?}", b.passive_opens, b.failures)
        });
        let backends: Vec<String> = backends.collect();
        format!("{} {:?} {backends:?}", port.node_port, port.outcomes)
    });
    Ok(ports.collect::<Vec<_>>().join("\n"))
}

/// Plays the scenario without and with the attack: the same has to be said.
fn same(scenario: &Scenario, expected: &[Expected], attack: Attack) -> Result<()> {
    let mut told = Vec::new();
    for attack in [None, Some(attack)] {
        let scene = Scene::new(scenario)?;
        let tracer = scene.trace(OPTIONS)?;
        (scenario.fault)(&scene)?;
        let attacked = Attacked::new(&scene)?;
        match attack {
            Some(attack) => attack(&attacked)?,
            None => attacked.attempts(|_| Ok(()), |_| Ok(()))?,
        }
        scene.healthy_traffic()?;
        expect::check(&scene, &tracer, expected)
            .with_context(|| format!("attacked: {}", attack.is_some()))?;
        told.push(counts(&scene, &tracer)?);
    }
    ensure!(
        told[0] == told[1],
        "without the attack:\n{}\nwith it:\n{}",
        told[0],
        told[1]
    );
    Ok(())
}

type Attack = fn(&Attacked<'_>) -> Result<()>;

/// Routed pods: a bridge with br_netfilter turns a SYN round before the tap sees it.
const SCENARIO: Scenario = Scenario {
    topology: || Topology::builder().pods(2).pod_link(PodLink::Veth),
    fault: |s| {
        s.keep(rules::drop_forwarded_syns(&s.bed.node, s.port)?);
        Ok(())
    },
    ..Scenario::new(31660)
};

/// What a pod sends in the load balancer's name, to a port of the node and to the backend.
fn spray(a: &Attacked<'_>, source: SocketAddr, flags: u8) -> Result<()> {
    let pod = &a.scene.bed.pods[1];
    let backend = a.scene.pod(0, 9090);
    for to in [a.scene.node_port(a.scene.port), backend] {
        for seq in [FORGED, FORGED + 1, ISN.wrapping_sub(1 << 30)] {
            send_routed(pod, &Segment::new(source, to, flags, seq, 5))?;
        }
    }
    Ok(())
}

/// SYNs with the load balancer's address on the very ports of its attempts, before
/// and after these, and to the backend itself, which refuses them.
#[test]
fn a_pod_sends_syns_in_the_name_of_the_load_balancer() -> Result<()> {
    same(&SCENARIO, &dropped(), |a| {
        a.attempts(
            |source| {
                let to = a.scene.node_port(a.scene.port);
                send_routed(&a.scene.bed.pods[1], &Segment::syn(source, to, FORGED))
            },
            |source| spray(a, source, flags::SYN),
        )
    })
}

/// RSTs, FINs, ACKs and payload, too, and while a call is under way.
#[test]
fn a_pod_sends_segments_into_others_connections() -> Result<()> {
    let scenario = Scenario {
        port: 31662,
        ..SCENARIO
    };
    same(&scenario, &dropped(), |a| {
        let all = [
            flags::SYN,
            flags::RST,
            flags::RST | flags::ACK,
            flags::FIN | flags::ACK,
            flags::ACK,
        ];
        let everything = |source| all.iter().try_for_each(|f| spray(a, source, *f));
        a.attempts(|_| Ok(()), everything)
    })
}

#[test]
fn a_pod_sends_segments_into_healthy_connections() -> Result<()> {
    let scenario = Scenario {
        port: 31664,
        ..SCENARIO
    };
    let scene = Scene::new(&scenario)?;
    let tracer = scene.trace(OPTIONS)?;
    let to = scene.node_port(scene.port);
    let (reply, stream) = call(&Dial::new(&scene.bed.client, to))?;
    ensure!(reply == Reply::Whole);
    let source = stream.local_addr()?;
    for f in [flags::SYN, flags::RST, flags::FIN | flags::ACK] {
        send_routed(&scene.bed.pods[1], &Segment::new(source, to, f, FORGED, 5))?;
    }
    drop(stream);
    scene.healthy_traffic()?;
    expect::check(&scene, &tracer, &[])?;
    let told = tracer.metrics()?;
    let port = scene.port.to_string();
    let is = |name, labels: &[(&str, &str)]| {
        let labels = [&[("node_port", port.as_str())][..], labels].concat();
        told.sum(name, &labels) as u64
    };
    let established = [("outcome", "established"), ("traffic", "thrift")];
    assert_eq!(is("tracer_handshakes_total", &established), 1);
    assert_eq!(is("tracer_connections_total", &[("traffic", "thrift")]), 1);
    // The forged SYN is nobody's attempt that could be followed.
    assert_eq!(is("tracer_untracked_syns_total", &[]), 1);
    assert_eq!(is("tracer_resets_total", &[]), 0);
    Ok(())
}

/// Everything that one can do alone between the ends that the backend sees: a
/// connection, a refusal, a segment that is dropped.
fn alone(ns: &Netns, client: SocketAddr, backend: SocketAddr) -> Result<()> {
    let listening = Server::start(ns, backend, Behaviour::Echo)?;
    let (_, stream) = call(&Dial::from(
        Dial::new(ns, backend),
        (client.ip(), client.port()),
    ))?;
    drop((stream, listening));
    let mut spoilt = Segment::syn(client, backend, FORGED);
    send_routed(ns, &spoilt)?;
    spoilt.bad_checksum = true;
    send_routed(ns, &spoilt)
}

/// The addresses that a user without rights gives to its own loopback.
fn addresses(scene: &Scene) -> String {
    let phantoms = (0..ATTEMPTS).map(|i| scene.phantom(i, 0).ip());
    let others = [
        "10.60.0.1",
        "10.244.0.1",
        "10.61.0.1",
        "10.244.0.2",
        "10.244.1.2",
    ];
    let others = others.iter().filter_map(|ip| ip.parse().ok());
    let line = |ip| format!("addr add {ip}/32 dev lo\n");
    phantoms.chain(others).map(line).collect()
}

fn with_namespace(a: &Attacked<'_>, backend: SocketAddr) -> Result<()> {
    let Some((ns, holder)) = Netns::of_nobody()? else {
        eprintln!("skipped: this kernel gives users no namespaces");
        return a.attempts(|_| Ok(()), |_| Ok(()));
    };
    ns.ip(&addresses(a.scene))?;
    let forge = |source: SocketAddr| {
        alone(&ns, source, backend)?;
        alone(&ns, source, a.scene.node_port(a.scene.port))
    };
    a.attempts(|_| Ok(()), forge)?;
    // Held until the end, that `explain` can find it.
    a.scene.keep(Server::start(&ns, backend, Behaviour::Sink)?);
    a.scene.keep((ns, holder));
    Ok(())
}

#[test]
fn a_user_has_the_addresses_in_a_namespace_of_its_own() -> Result<()> {
    let scenario = Scenario {
        port: 31666,
        topology: || Topology::builder().pods(2),
        // The backend sees the load balancer's address and port.
        services: |s| {
            let service = s.service().policy(Policy::Local);
            vec![service.backend(s.pod(0, 9090))]
        },
        fault: |s| {
            let rule = "tcp dport 9090 drop";
            s.keep(rules::add(&s.bed.pods[0], &[("input", "filter")], rule)?);
            Ok(())
        },
        ..SCENARIO
    };
    same(&scenario, &dropped(), |a| {
        with_namespace(a, a.scene.pod(0, 9090))
    })
}

/// A backend of another node: nothing of it is on this one.
#[test]
fn a_user_has_the_address_of_a_backend_elsewhere() -> Result<()> {
    let scenario = Scenario {
        port: 31668,
        topology: || Topology::builder().pods(2).second_node(),
        services: |s| vec![s.service().backend(s.far_pod(9090))],
        servers: |_| Ok(()),
        // Nothing listens there.
        fault: |_| Ok(()),
        ..SCENARIO
    };
    let expected = [failed("nothing_listens", 3)
        .backend(super::expect::Backend::Far(9090))
        .or_likely()];
    same(&scenario, &expected, |a| {
        with_namespace(a, a.scene.far_pod(9090))
    })
}
