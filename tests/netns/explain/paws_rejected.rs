//! C6: a masqueraded tuple comes again while the server keeps it in TIME_WAIT,
//! with a timestamp from another client that is behind.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use anyhow::{Result, ensure};
use testbed::{
    Topology,
    addr::client_v4,
    peer::{Behaviour, thrift::Message},
    rules,
};

use super::{
    expect::{Count, spoilt},
    scenario::Scenario,
    scene::{SOON, Scene},
};

const CLIENTS: u8 = 16;

/// A connection by this address of the load balancer, which the server closes.
fn served(s: &Scene, client: u8) -> Result<()> {
    let dial = s.dial(SOON).from((client_v4(client), 0));
    let mut stream = dial.stream()?;
    stream.write_all(&Message::call("getUser").strict())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    ensure!(reply == b"bye");
    drop(stream);
    // Entries outlive TIME_WAIT unless they are pushed out.
    s.bed.node.run(&["conntrack", "-F"]).map(drop)
}

const SCENARIO: Scenario = Scenario {
    topology: || Topology::builder().pods(2).client_addresses(CLIENTS),
    services: |s| vec![s.service().backend(s.pod(0, 9096))],
    // It closes first, so that TIME_WAIT is on its side.
    servers: |s| s.serve(0, 9096, Behaviour::ReplyOnce(b"bye".to_vec())),
    fault: |s| {
        let rule = rules::masquerade_from(&s.bed.node, 9096, "50000")?;
        s.keep(rule);
        Ok(())
    },
    traffic: |s| {
        // Timestamps begin anywhere for each pair of addresses: every other
        // client is behind the one before.
        for client in 0..CLIENTS {
            served(s, client)?;
        }
        s.took(&s.bed.pods[0], "PAWSTimewait", 1)
    },
    expect: || {
        vec![
            spoilt("paws_rejected", 1)
                .backend(super::expect::Backend::Pod(0, 9096))
                .connections(Count::AtLeast(1)),
        ]
    },
    ..Scenario::new(31470)
};

#[test]
fn time_wait_of_another_client() -> Result<()> {
    SCENARIO.run()
}

/// A near miss: the same tuple comes again and again, with timestamps that go on.
#[test]
fn time_wait_of_the_same_client() -> Result<()> {
    Scenario {
        port: 31962,
        // Without an offset of their own for each pair of addresses and ports.
        fault: |s| {
            let plain = [("net/ipv4/tcp_timestamps", "2")];
            s.bed.client.sysctls(&plain)?;
            (SCENARIO.fault)(s)
        },
        traffic: |s| {
            for _ in 0..CLIENTS {
                served(s, 0)?;
                std::thread::sleep(Duration::from_millis(5));
            }
            s.took_no(&s.bed.pods[0], "PAWSTimewait")
        },
        expect: Vec::new,
        ..SCENARIO
    }
    .run()
}
