//! Rule sets as three real kube-proxies wrote them: outcomes and verdicts of each port, exactly.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use testbed::{
    Metrics, Mode, Tracer,
    kube_proxy::Recorded,
    peer::{Behaviour, Dial, Server},
};

use super::{
    expect::{Count, Expected, check, failed, settled},
    scenario::{OPTIONS, Scenario},
    scene::{Reply, SECOND_SYN, SOON, Scene, at_once, call},
};

const PORTS: &str = "30080-30084";
const TWO_ENDPOINTS: u16 = 30080;
const EMPTY: u16 = 30081;
const ELSEWHERE: u16 = 30082;
const HERE: u16 = 30083;
const WRONG_TARGET: u16 = 30084;

/// Its own rules are replaced by the recorded ones.
const SCENARIO: Scenario = Scenario {
    services: |_| vec![],
    ..Scenario::new(TWO_ENDPOINTS)
};

struct Replay {
    rules: Recorded,
    /// Besides the rules.
    node: fn(&Scene) -> Result<()>,
    /// At the port whose endpoints are elsewhere: connections before the dials that nobody answers.
    connections: usize,
    /// Why those fail.
    verdict: &'static str,
}

const CALLS: usize = 12;
const DIALS: usize = 3;

impl Replay {
    fn run(&self) -> Result<()> {
        let mode = match self.rules {
            Recorded::Nftables1_36 => Mode::Nftables,
            _ => Mode::IptablesNft,
        };
        let scenario = Scenario {
            rules: mode,
            ..SCENARIO
        };
        let scene = Scene::new(&scenario)?;
        self.rules.apply(&scene.bed.node)?;
        (self.node)(&scene)?;
        let options = [&["--node-ports", PORTS][..], OPTIONS].concat();
        let tracer = Tracer::start(&scene.bed.node, &options)?;
        let played = self.traffic(&scene);
        played.with_context(|| format!("the traffic\n{}", scene.facts()))?;
        let told = self.outcomes(&settled(&tracer)?);
        told.and_then(|()| check(&scene, &tracer, &self.expected()))
            .with_context(|| scene.facts())
    }

    fn traffic(&self, scene: &Scene) -> Result<()> {
        for port in [TWO_ENDPOINTS, HERE] {
            let dial = dial(scene, port);
            for (reply, _) in at_once(CALLS, |_| call(&dial))? {
                ensure!(reply == Reply::Whole, "port {port}: {reply:?}");
            }
        }
        let held = dial(scene, ELSEWHERE).limit(SOON);
        for _ in 0..self.connections {
            drop(held.stream()?);
        }
        ends(&held, Errno::EINPROGRESS)?;
        ends(&dial(scene, EMPTY).limit(SECOND_SYN), Errno::ECONNREFUSED)?;
        ends(&dial(scene, WRONG_TARGET), Errno::ECONNREFUSED)
    }

    fn outcomes(&self, metrics: &Metrics) -> Result<()> {
        let mut expected = BTreeMap::from([
            ((TWO_ENDPOINTS, "established"), CALLS),
            ((HERE, "established"), CALLS),
            ((EMPTY, "unreachable"), DIALS),
            ((ELSEWHERE, "timed_out"), DIALS),
            ((WRONG_TARGET, "refused"), DIALS),
        ]);
        if self.connections > 0 {
            expected.insert((ELSEWHERE, "established"), self.connections);
        }
        let counted: BTreeMap<(u16, &str), usize> = metrics
            .series("tracer_handshakes_total", &[])
            .filter(|(_, value)| *value > 0.0)
            .map(|(labels, value)| {
                let port = labels["node_port"].parse()?;
                Ok(((port, labels["outcome"].as_str()), value as usize))
            })
            .collect::<Result<_>>()?;
        ensure!(
            counted == expected,
            "counted {counted:?}, expected {expected:?}"
        );
        Ok(())
    }

    fn expected(&self) -> Vec<Expected> {
        let dials = DIALS as u64;
        vec![
            failed("no_endpoints", dials).at(EMPTY),
            // Those that the holder took may be named as well, once they have waited.
            failed(self.verdict, dials)
                .at(ELSEWHERE)
                .connections(Count::AtLeast(0)),
            failed("nothing_listens", dials)
                .at(WRONG_TARGET)
                .by(0, 9099),
        ]
    }
}

fn dial(scene: &Scene, port: u16) -> Dial<'_> {
    Dial::new(&scene.bed.client, scene.node_port(port))
}

fn ends(dial: &Dial<'_>, errno: Errno) -> Result<()> {
    for ended in at_once(DIALS, |_| dial.connect())? {
        let ended = ended.err();
        ensure!(ended == Some(errno), "{dial:?} ended with {ended:?}");
    }
    Ok(())
}

/// As up to 1.23: kube-proxy listens on every NodePort and never accepts. Its queue is short here.
fn hold(scene: &Scene) -> Result<()> {
    for port in TWO_ENDPOINTS..=WRONG_TARGET {
        let at = scene.node_port(port);
        let holder = Server::start_with(&scene.bed.node, at, Behaviour::NeverAccept, 3, 0)?;
        scene.keep(holder);
    }
    Ok(())
}

/// Without the kubelet's rules a Service without a local endpoint is not dropped: the holder
/// answers, until its queue is full.
#[test]
fn iptables_1_20_without_kubelet() -> Result<()> {
    Replay {
        rules: Recorded::Iptables1_20,
        node: hold,
        connections: 4,
        verdict: "held_by_kube_proxy",
    }
    .run()
}

#[test]
fn iptables_1_20() -> Result<()> {
    Replay {
        rules: Recorded::Iptables1_20,
        node: |scene| {
            hold(scene)?;
            Recorded::apply_kubelet(&scene.bed.node)
        },
        connections: 0,
        verdict: "no_local_endpoint",
    }
    .run()
}

#[test]
fn iptables_1_36() -> Result<()> {
    Replay {
        rules: Recorded::Iptables1_36,
        node: |_| Ok(()),
        connections: 0,
        verdict: "no_local_endpoint",
    }
    .run()
}

#[test]
fn nftables_1_36() -> Result<()> {
    Replay {
        rules: Recorded::Nftables1_36,
        node: |_| Ok(()),
        connections: 0,
        verdict: "no_local_endpoint",
    }
    .run()
}
