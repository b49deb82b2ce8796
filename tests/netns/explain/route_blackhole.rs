//! A7: a blackhole route swallows what goes to the backend.

use anyhow::Result;
use nix::errno::Errno;

use super::{expect::failed, scenario::Scenario, scene::SOON};

#[test]
fn vm_blackhole() -> Result<()> {
    Scenario {
        fault: |s| s.bed.node.ip("route add blackhole 10.244.0.2/32\n"),
        traffic: |s| s.dials_end(3, SOON, Errno::EINPROGRESS),
        expect: || vec![failed("route_blackhole", 3).by(0, 9090)],
        ..Scenario::new(31438)
    }
    .run()
}
