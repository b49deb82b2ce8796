//! "Nobody tried" is said only where every SYN would have been seen.

use anyhow::{Context as _, Result, ensure};
use testbed::{peer::Dial, process::poll_until, xdp::Xdp};

use super::{
    expect::{ask, explain},
    scenario::{OPTIONS, Scenario},
    scene::{SOON, Scene},
};

/// An address that the node routes, and does not hold.
const SERVICE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 66, 200, 1);

const SCENARIO: Scenario = Scenario::new(31548);

#[test]
fn what_the_tap_cannot_see_is_told() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    let tracer = s.trace(OPTIONS)?;
    let (status, told) = explain(&tracer, &[])?;
    ensure!(status == 0 && told.sight.complete, "{told:#?}");
    let (_, text, _) = ask(&tracer, &["explain"])?;
    ensure!(
        text.contains("Nobody tried to connect to any watched port"),
        "{text}"
    );

    // A Service's address: forwarded, not the node's.
    s.bed.client.ip(&format!(
        "route add {SERVICE} via {}\n",
        testbed::addr::NODE_V4
    ))?;
    let dial = Dial::new(&s.bed.client, (SERVICE, s.port)).limit(SOON);
    ensure!(dial.connect()?.is_err());
    // The node's own dial of its own port.
    drop(
        Dial::new(&s.bed.node, s.node_port(s.port))
            .limit(SOON)
            .connect()?,
    );
    let other = format!(
        " to {SERVICE}:{}, which is not an address of this node",
        s.port
    );
    // The client's dial is of this kernel, too, and goes to nobody of this node.
    let local = format!("1 dial to port {} was made on this node itself", s.port);
    let mut last = String::new();
    let told = poll_until(SOON * 5, "not all is told", || {
        let (status, told) = explain(&tracer, &[])?;
        let all = told.sight.not_counted.join("\n");
        let is_told = all.contains(&other) && all.contains(&local);
        last = format!("{status} {told:#?}");
        Ok((status == 0 && is_told).then_some(()))
    });
    told.context(last)?;
    let (_, text, _) = ask(&tracer, &["explain"])?;
    ensure!(
        !text.contains("Nobody tried") && text.contains(&other),
        "{text}"
    );

    let xdp = Xdp::pass(&s.bed.node, "eth0")?;
    let (status, told) = explain(&tracer, &[])?;
    let said = told.sight.obstacles.join("\n");
    ensure!(status == 69 && !told.sight.complete, "{status} {told:#?}");
    ensure!(
        said.starts_with("An XDP program (id ") && said.contains(") on eth0 "),
        "{said}"
    );
    drop(xdp);
    // Another one's tap stands before this one.
    let later = testbed::Tracer::start_at(
        &s.bed.node,
        &testbed::Tracer::binary()?,
        "127.0.0.1:9401".parse()?,
        &["--node-ports", "31548"],
    )?;
    let (status, told) = explain(&tracer, &[])?;
    if testbed::kernel::has_tcx()? {
        let said = told.sight.obstacles.join("\n");
        ensure!(
            status == 69 && said.contains("runs before the tap"),
            "{told:#?}"
        );
    }
    drop(later);
    let (status, told) = explain(&tracer, &[])?;
    ensure!(status == 0 && told.sight.complete, "{status} {told:#?}");
    Ok(())
}
