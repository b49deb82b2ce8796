//! E2: the process accepts and closes, or crashes.

use anyhow::Result;
use testbed::peer::Behaviour;

use super::{
    expect::spoilt,
    scenario::Scenario,
    scene::{Reply, SOON},
};

/// The call then meets a closed socket, which answers with RST.
#[test]
fn fin() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::Close),
        traffic: |s| {
            for _ in 0..4 {
                let (reply, _) = super::scene::call(&s.dial(SOON))?;
                anyhow::ensure!(matches!(reply, Reply::Closed | Reply::Reset), "{reply:?}");
            }
            Ok(())
        },
        expect: || vec![spoilt("closed_at_once", 4).by(0, 9090)],
        ..Scenario::new(31454)
    }
    .run()
}

#[test]
fn rst() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::Reset),
        traffic: |s| s.calls(4, SOON, Reply::Reset),
        expect: || vec![spoilt("closed_at_once", 4).by(0, 9090)],
        ..Scenario::new(31456)
    }
    .run()
}
