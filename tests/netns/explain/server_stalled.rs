//! B5: the kernel completes handshakes, the process does nothing.

use std::time::Duration;

use anyhow::Result;
use testbed::peer::Behaviour;

use super::{expect::spoilt, scenario::Scenario, scene::Reply};

const SCENARIO: Scenario = Scenario {
    servers: |s| s.serve(0, 9090, Behaviour::Stall),
    traffic: |s| s.calls(3, Duration::from_millis(1300), Reply::None),
    expect: || vec![spoilt("server_stalled", 3).by(0, 9090)],
    ..Scenario::new(31450)
};

/// It accepts and never reads.
#[test]
fn never_reads() -> Result<()> {
    SCENARIO.run()
}

/// It does not even accept; its queue is far from full.
#[test]
fn never_accepts() -> Result<()> {
    Scenario {
        port: 31452,
        servers: |s| s.serve(0, 9090, Behaviour::NeverAccept),
        ..SCENARIO
    }
    .run()
}
