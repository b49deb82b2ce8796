//! A2: no rule, but a process of the node holds the port and never accepts, as
//! kube-proxy did up to 1.23: a false healthy node, until its queue is full.

use anyhow::Result;
use nix::errno::Errno;
use testbed::peer::{Behaviour, Server};

use super::{
    expect::{Count, failed},
    scenario::Scenario,
    scene::SOON,
};

#[test]
fn queue_fills() -> Result<()> {
    Scenario {
        services: |_| vec![],
        fault: |s| {
            let at = s.node_port(s.port);
            let holder = Server::start_with(&s.bed.node, at, Behaviour::NeverAccept, 3, 0)?;
            s.keep(holder);
            Ok(())
        },
        traffic: |s| {
            // One more than the backlog; the load balancer closes them.
            drop(s.connections(4)?);
            s.dials_end(3, SOON, Errno::EINPROGRESS)?;
            s.took(&s.bed.node, "ListenOverflows", 3)
        },
        expect: || vec![failed("held_by_kube_proxy", 3).connections(Count::AtLeast(0))],
        ..Scenario::new(31408)
    }
    .run()
}
