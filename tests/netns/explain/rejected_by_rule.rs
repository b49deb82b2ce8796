//! A1r: a rule of the node answers with a RST or with ICMP.

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

/// After DNAT, as a network policy that rejects, or a host's firewall whose FORWARD ends so.
#[test]
fn icmp_after_dnat() -> Result<()> {
    Scenario {
        port: 31408,
        fault: |s| {
            let rule = "ip daddr 10.244.0.2 reject with icmp admin-prohibited";
            s.keep(rules::add(&s.bed.node, &[("forward", "filter")], rule)?);
            Ok(())
        },
        traffic: |s| {
            for ended in s.dials(4, SOON)? {
                anyhow::ensure!(ended.is_err(), "a dial succeeded");
            }
            Ok(())
        },
        expect: || {
            let rejected = failed("rejected_by_rule", 4).by(0, 9090);
            vec![rejected.says(&["chain c0", "It answered with ICMP prohibited"])]
        },
        ..Scenario::new(31408)
    }
    .run()
}
