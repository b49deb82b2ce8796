//! A scenario is a table: a node, a fault, traffic, the verdicts expected.

use anyhow::{Context as _, Result};
use testbed::{Mode, ServicePort, Topology, Tracer, peer::Behaviour, seen, topology::Builder};

use super::{
    expect::{self, Expected},
    scene::{Family, Scene},
};

/// Longer than a load balancer that gives up soon waits.
pub const OPTIONS: &[&str] = &["--handshake-timeout", "1s", "--idle-after", "1s"];
/// What is made, done and expected.
pub struct Scenario {
    /// The node port with the fault.
    pub port: u16,
    pub family: Family,
    /// kube-proxy's mode.
    pub rules: Mode,
    /// Namespaces; the first pod is behind the faulty port, the second behind
    /// the healthy one.
    pub topology: fn() -> Builder,
    /// Options of `tracer run`.
    pub options: &'static [&'static str],
    /// The Service ports that the node has rules for.
    pub services: fn(&Scene) -> Vec<ServicePort>,
    /// Servers behind it, before the daemon starts.
    pub servers: fn(&Scene) -> Result<()>,
    /// What goes wrong, once the daemon runs.
    pub fault: fn(&Scene) -> Result<()>,
    /// What the load balancer does; fails when the fault did not take.
    pub traffic: fn(&Scene) -> Result<()>,
    /// Whether the healthy Service can be reached meanwhile.
    pub healthy: bool,
    /// All verdicts expected.
    pub expect: fn() -> Vec<Expected>,
    /// Hooks without which the verdict would be another.
    pub rests_on: &'static [&'static str],
}

impl Scenario {
    /// A healthy Service with one backend that echoes, kube-proxy in its
    /// iptables mode over nf_tables.
    pub const fn new(port: u16) -> Self {
        Self {
            port,
            family: Family::V4,
            rules: Mode::IptablesNft,
            topology: || Topology::builder().pods(2),
            options: OPTIONS,
            services: |s| vec![s.service().backend(s.pod(0, 9090))],
            servers: |s| s.serve(0, 9090, Behaviour::Echo),
            fault: |_| Ok(()),
            traffic: |_| Ok(()),
            healthy: true,
            expect: Vec::new,
            rests_on: &[],
        }
    }

    /// Plays it.
    pub fn run(&self) -> Result<()> {
        let scene = Scene::new(self)?;
        let tracer = scene.trace(self.options)?;
        let played = (self.fault)(&scene)
            .context("the fault")
            .and_then(|()| (self.traffic)(&scene).context("the traffic"))
            .and_then(|()| self.beside(&scene));
        played.with_context(|| format!("the fault did not take\n{}", scene.facts()))?;
        let told = expect::check(&scene, &tracer, &(self.expect)());
        told.with_context(|| format!("{}\n{}", scene.facts(), warnings(&tracer)))?;
        seen::right(self.rests_on)
    }

    fn beside(&self, scene: &Scene) -> Result<()> {
        if self.healthy {
            scene.healthy_traffic()
        } else {
            Ok(())
        }
    }
}

/// What the daemon complained of, but for hooks that this kernel lacks.
fn warnings(tracer: &Tracer<'_>) -> String {
    let log = tracer.process().stderr();
    let told = |line: &&str| !line.contains("level=info") && !line.contains("hook absent");
    log.lines().filter(told).collect::<Vec<_>>().join("\n")
}
