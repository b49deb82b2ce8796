//! A client's SYNs come in by one interface of the node and the rest of its segments by
//! another, as behind two routers: the calls succeed, and nothing is wrong.

use anyhow::Result;
use testbed::{Topology, rules};

use super::{
    scenario::Scenario,
    scene::{Reply, SOON, Scene},
};

/// A second link between the load balancer and the node, `eth9`: what its routing table 77
/// has is sent by it.
pub fn second_link(s: &Scene) -> Result<()> {
    let (client, node) = (&s.bed.client, &s.bed.node);
    let link = format!(
        "link add eth9 type veth peer name eth9 netns {}\nlink set eth9 up\n\
         addr add 10.62.0.10/24 dev eth9\n",
        node.name()
    );
    client.ip(&link)?;
    node.ip("link set eth9 up\naddr add 10.62.0.1/24 dev eth9\n")?;
    client.ip("route add default via 10.62.0.1 dev eth9 table 77\n")
}

/// By it goes everything but SYNs.
fn all_but_syns(s: &Scene) -> Result<()> {
    second_link(s)?;
    s.bed.client.ip("rule add fwmark 7 table 77\n")?;
    let table = format!(
        "table ip second {{ chain c {{ type route hook output priority mangle; \
         tcp dport {} tcp flags & syn == 0 meta mark set 7; }}\n}}\n",
        s.port
    );
    s.bed.client.run_with(&["nft", "-f", "-"], &table).map(drop)
}

const SCENARIO: Scenario = Scenario {
    topology: || Topology::builder().pods(2),
    servers: |s| {
        all_but_syns(s)?;
        s.serve(0, 9090, testbed::peer::Behaviour::Echo)
    },
    traffic: |s| {
        s.calls(12, SOON, Reply::Whole)?;
        // Past the idle threshold.
        std::thread::sleep(2 * SOON);
        s.calls(3, SOON, Reply::Whole)
    },
    ..Scenario::new(31930)
};

#[test]
fn all_calls_succeed() -> Result<()> {
    SCENARIO.run()
}

/// Near it: the SYN-ACKs are dropped where they leave, and every call fails.
#[test]
fn answers_are_dropped() -> Result<()> {
    Scenario {
        port: 31932,
        fault: |s| {
            s.keep(rules::drop_syn_acks_in_node(&s.bed.node, s.port)?);
            Ok(())
        },
        traffic: |s| {
            let limit = std::time::Duration::from_millis(1400);
            s.dials_end(3, limit, nix::errno::Errno::EINPROGRESS)
        },
        expect: || vec![super::expect::failed("return_path", 3).by(0, 9090)],
        ..SCENARIO
    }
    .run()
}
