//! Whose SYNs count: those for the node's own addresses, as they come and go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use testbed::{
    Topology, Tracer,
    addr::{phantom_v4, phantom_v6},
    process::poll_until,
    raw::Answer,
};

use crate::scene::{LIMIT, Scene, TAPS, at, attempts, handshakes, nothing_else, port};

const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 61, 0, 2);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x61, 0, 0, 0, 0, 0, 2);

/// Sends SYNs, each an attempt of its own, to one address.
struct Knocker<'a> {
    scene: &'a Scene,
    tracer: &'a Tracer<'a>,
    from: IpAddr,
    to: IpAddr,
    source: u16,
}

impl Knocker<'_> {
    /// One attempt, which somebody refuses; whether it was counted.
    fn knock(&mut self) -> Result<bool> {
        let before = attempts(&self.tracer.metrics()?, port::CLOSED);
        self.source += 1;
        let (from, to) = (at(self.from, self.source), at(self.to, port::CLOSED));
        let answer = self.scene.raw.syn(from, to, 7)?;
        assert_eq!(answer, Answer::Rst, "{from} to {to}");
        let after = attempts(&self.tracer.metrics()?, port::CLOSED);
        assert!(after - before <= 1);
        Ok(after != before)
    }

    /// Knocks until it is counted, or not any more, then says how it stays.
    fn until(&mut self, counted: bool) -> Result<()> {
        poll_until(LIMIT, &format!("{}: {counted}", self.to), || {
            Ok((self.knock()? == counted).then_some(()))
        })?;
        for _ in 0..5 {
            assert_eq!(self.knock()?, counted, "{}", self.to);
        }
        Ok(())
    }
}

#[test]
fn forwarded_to_another_node_unless_the_address_is_ours() -> Result<()> {
    let scene = Scene::build(&Topology::builder().second_node())?;
    scene.bed.beyond.as_ref().context("no second node")?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        for (from, to, bits) in [
            (IpAddr::V4(phantom_v4(1)), IpAddr::V4(FAR_V4), 32),
            (phantom_v6(1).into(), FAR_V6.into(), 128),
        ] {
            let mut knocker = Knocker {
                scene: &scene,
                tracer: &tracer,
                from,
                to,
                source: 5000,
            };
            knocker.until(false)?;
            let address = format!("{to}/{bits} dev eth0");
            let nodad = if to.is_ipv6() { " nodad" } else { "" };
            scene.bed.node.ip(&format!("addr add {address}{nodad}\n"))?;
            knocker.until(true)?;
            scene.bed.node.ip(&format!("addr del {address}\n"))?;
            knocker.until(false)?;
        }
        let metrics = tracer.metrics()?;
        let counted = handshakes(&metrics, port::CLOSED);
        assert_eq!(counted.keys().collect::<Vec<_>>(), ["refused unknown"]);
        assert_eq!(counted["refused unknown"], attempts(&metrics, port::CLOSED));
        nothing_else(&metrics);
    }
    Ok(())
}
