//! A3: this node has no rule for the port, and nothing listens.

use anyhow::Result;
use nix::errno::Errno;

use super::{expect::failed, scenario::Scenario, scene::SOON};

#[test]
fn node_refuses() -> Result<()> {
    Scenario {
        services: |_| vec![],
        traffic: |s| {
            s.dials_end(4, SOON, Errno::ECONNREFUSED)?;
            s.took(&s.bed.node, "OutRsts", 4)
        },
        expect: || vec![failed("no_service_rule", 4)],
        ..Scenario::new(31410)
    }
    .run()
}
