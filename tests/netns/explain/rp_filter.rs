//! D2: the way back to the client is by another interface, which a strict
//! reverse path filter does not allow.

use anyhow::Result;
use nix::errno::Errno;
use testbed::peer::Dial;

use super::{
    expect::{Backend, failed},
    scenario::Scenario,
    scene::{SOON, at_once},
};

#[test]
fn strict() -> Result<()> {
    Scenario {
        fault: |s| {
            // The filter is for ARP, too.
            s.dial(SOON).connect_fin()?;
            s.bed.client.ip("addr add 172.31.9.1/32 dev eth0\n")?;
            s.bed.node.ip("route add 172.31.9.0/24 dev cbr0\n")?;
            s.bed.node.sysctls(&[("net/ipv4/conf/eth0/rp_filter", "1")])
        },
        traffic: |s| {
            let dial = Dial::from(s.dial(SOON), ([172, 31, 9, 1], 0));
            for ended in at_once(3, |_| dial.connect())? {
                anyhow::ensure!(ended.err() == Some(Errno::EINPROGRESS));
            }
            s.took(&s.bed.node, "IPReversePathFilter", 3)
        },
        expect: || vec![failed("rp_filter", 3).backend(Backend::Any)],
        ..Scenario::new(31484)
    }
    .run()
}
