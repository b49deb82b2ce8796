//! A1r: a rule of the node answers with a RST.

use anyhow::Result;
use nix::errno::Errno;
use testbed::rules;

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::SOON,
};

/// After DNAT: the backend may be known, and has no part in it.
#[test]
fn vm_tcp_reset() -> Result<()> {
    Scenario {
        fault: |s| {
            s.keep(rules::reject_with_tcp_reset(&s.bed.node, s.port)?);
            Ok(())
        },
        traffic: |s| {
            s.dials_end(4, SOON, Errno::ECONNREFUSED)?;
            s.took_no(&s.bed.pods[0], "OutRsts")
        },
        expect: || vec![failed("rejected_by_rule", 4).backend(Backend::Any)],
        ..Scenario::new(31406)
    }
    .run()
}
