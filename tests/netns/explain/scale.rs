//! 200 node ports and 64,000 flows: the answer within 2 s.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nix::errno::Errno;
use testbed::{Mode, flood, peer::Dial};

use super::{
    expect::explain,
    scenario::Scenario,
    scene::{SOON, Scene, at_once},
};

const PORTS: std::ops::Range<u16> = 31500..31700;
const FLOWS: u32 = 64_000;
/// Every twentieth Service sends to a closed port.
const EVERY: u16 = 20;

const SCENARIO: Scenario = Scenario {
    rules: Mode::Nftables,
    services: |s| {
        let to = |port| if port % EVERY == 0 { 9099 } else { 9090 };
        let all = PORTS.filter(|port| *port != s.port + 1);
        all.map(|port| s.service_at(port).backend(s.pod(0, to(port))))
            .collect()
    },
    ..Scenario::new(31500)
};

#[test]
fn answers_within_two_seconds() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    // Half-open flows stay as long as they may be pending.
    let tracer = s.trace(&["--handshake-timeout", "60s", "--flows", "65536"])?;
    let sound = PORTS.filter(|port| port % EVERY != 0);
    let share = FLOWS / u32::try_from(sound.clone().count())?;
    for (i, port) in (0..).zip(sound) {
        let SocketAddr::V4(to) = s.node_port(port) else {
            bail!("IPv4 only");
        };
        flood::syns(&s.bed.client, to, i * share..(i + 1) * share, 100_000)?;
    }
    let broken: Vec<u16> = PORTS.filter(|port| port % EVERY == 0).collect();
    for port in &broken {
        let dial = Dial::new(&s.bed.client, s.node_port(*port)).limit(SOON);
        for ended in at_once(3, |_| dial.connect())? {
            ensure!(ended.err() == Some(Errno::ECONNREFUSED));
        }
    }
    let limit = Duration::from_secs(10);
    tracer.metrics_when(limit, "64,000 flows are not there", |metrics| {
        metrics.sum("tracer_flows", &[]) >= f64::from(FLOWS) * 0.95
    })?;
    // Refusals are judged with the next look at the flows.
    std::thread::sleep(SOON * 3);
    let start = Instant::now();
    let (_, told) = explain(&tracer, &["--last", "60s"])?;
    let taken = start.elapsed();
    println!("explained in {taken:?}");
    ensure!(taken <= Duration::from_secs(2), "{taken:?}");
    ensure!(
        told.ports.len() >= PORTS.len() - 1,
        "{} ports",
        told.ports.len()
    );
    let named = told
        .verdicts
        .iter()
        .filter(|f| f.verdict == "nothing_listens");
    let named: u64 = named.map(|f| f.failed).sum();
    ensure!(named == 3 * broken.len() as u64, "{:#?}", told.verdicts);
    ensure!(told.verdicts.len() == broken.len() && told.unexplained == 0);
    Ok(())
}
