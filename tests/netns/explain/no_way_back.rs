//! The pod has no route back to its clients: the kernel counts that as ListenDrops, as it
//! does SYNs for which the listener's queue has no room.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{Policy, peer::Behaviour};

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Reply, SOON},
};

const SCENARIO: Scenario = Scenario {
    // The client's address is kept; a masqueraded one would be on the pod's own network.
    services: |s| {
        let local = s.service().backend(s.pod(0, 9090));
        vec![local.policy(Policy::Local)]
    },
    fault: |s| {
        s.calls(1, SOON, Reply::Whole)?;
        s.bed.pods[0].ip("route del default\n")
    },
    traffic: |s| {
        s.dials_end(3, SOON, Errno::EINPROGRESS)?;
        s.took(&s.bed.pods[0], "ListenDrops", 3)?;
        s.took(&s.bed.pods[0], "OutNoRoutes", 3)
    },
    expect: || vec![failed("return_path", 3).by(0, 9090).says(&["OutNoRoutes"])],
    ..Scenario::new(31844)
};

#[test]
fn with_cookies() -> Result<()> {
    SCENARIO.run()
}

/// A full SYN queue would drop here.
#[test]
fn without_cookies() -> Result<()> {
    Scenario {
        port: 31846,
        servers: |s| {
            s.bed.pods[0].sysctls(&[("net/ipv4/tcp_syncookies", "0")])?;
            s.serve(0, 9090, Behaviour::Echo)
        },
        ..SCENARIO
    }
    .run()
}
