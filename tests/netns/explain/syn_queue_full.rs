//! B4: more half-open handshakes than the listener may keep, without SYN
//! cookies. With them (B4b) nothing is wrong.

use anyhow::Result;
use nix::errno::Errno;
use testbed::{RawClient, peer::Behaviour};

use super::{
    expect::failed,
    scenario::Scenario,
    scene::{Reply, SOON, Scene},
};

/// A listener with room for few handshakes, and as many that never end; they
/// come from elsewhere, not by the node port.
fn full(s: &Scene, cookies: &str) -> Result<()> {
    s.bed.pods[0].sysctls(&[
        ("net/ipv4/tcp_syncookies", cookies),
        ("net/ipv4/tcp_max_syn_backlog", "8"),
    ])?;
    s.serve_with(0, 9090, Behaviour::Echo, 8)?;
    let raw = RawClient::open(&s.bed.client)?;
    for source in 4000..4016 {
        raw.syn_only(s.phantom(1, source), s.pod(0, 9090), 1)?;
    }
    Ok(())
}

#[test]
fn without_cookies() -> Result<()> {
    Scenario {
        servers: |_| Ok(()),
        fault: |s| full(s, "0"),
        traffic: |s| {
            s.dials_end(4, SOON, Errno::EINPROGRESS)?;
            s.took_no(&s.bed.pods[0], "ListenOverflows")?;
            s.took(&s.bed.pods[0], "ListenDrops", 4)
        },
        expect: || vec![failed("syn_queue_full", 4).by(0, 9090)],
        ..Scenario::new(31446)
    }
    .run()
}

#[test]
fn with_cookies_is_healthy() -> Result<()> {
    Scenario {
        servers: |_| Ok(()),
        fault: |s| full(s, "1"),
        traffic: |s| {
            s.calls(4, SOON, Reply::Whole)?;
            s.took(&s.bed.pods[0], "SyncookiesRecv", 4)
        },
        expect: Vec::new,
        ..Scenario::new(31448)
    }
    .run()
}
