//! Healthy traffic: probes of every kind, connections that wait, clients and
//! servers that take their time. No verdict.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use testbed::{
    Mode, RawClient,
    peer::{
        Behaviour, Dial,
        thrift::{Kind, Message},
    },
    raw::Answer,
};

use super::{
    scenario::Scenario,
    scene::{Family, Scene, at_once, call},
};

/// Long past the idle threshold.
const LONG: Duration = Duration::from_millis(2500);

/// Behind the port beside: reads, and never answers.
const ONE_WAY: u16 = 31510;
/// Answers after a second and a half.
const SLOW: u16 = 31512;
/// Sends a reply and closes.
const ONCE: u16 = 31514;

fn dial(s: &Scene, port: u16) -> Dial<'_> {
    Dial::new(&s.bed.client, s.node_port(port)).limit(Duration::from_secs(4))
}

/// Everything at the first port: probes, pools, calls.
fn echo(s: &Scene) -> Result<()> {
    let raw = RawClient::open(&s.bed.client)?;
    for source in 4000..4005 {
        let answer = raw.half_open(s.phantom(1, source), s.node_port(s.port), 1)?;
        ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
    }
    let dial = dial(s, s.port);
    let call = Message::call("getUser").strict();
    for _ in 0..5 {
        dial.connect_fin()?;
        dial.connect_rst()?;
        ensure!(dial.send(&[&call[..7], &call[7..]])? == call);
        ensure!(dial.send(&[b"GET / HTTP/1.1\r\n\r\n"])?.len() == 18);
    }
    at_once(6, |i| match i % 3 {
        0 => dial.idle(LONG),
        1 => dial.idle_then(LONG, &call).map(drop),
        // A pool: one call, then silence.
        _ => {
            let (_, stream) = super::scene::call(&dial)?;
            std::thread::sleep(LONG);
            drop(stream);
            Ok(())
        }
    })?;
    Ok(())
}

/// Messages that need no reply, a stream that gets none, late replies, and a
/// server that closes after its reply.
fn others(s: &Scene) -> Result<()> {
    let oneway = Message {
        kind: Kind::Oneway,
        ..Message::call("log")
    };
    at_once(9, |i| match i % 3 {
        0 => {
            let mut stream = dial(s, ONE_WAY).stream()?;
            stream.write_all(&oneway.strict())?;
            std::thread::sleep(LONG);
            Ok(())
        }
        1 => {
            let mut stream = dial(s, ONE_WAY).stream()?;
            stream.write_all(b"<14>a line of a log\n")?;
            std::thread::sleep(LONG);
            Ok(())
        }
        _ => call(&dial(s, SLOW)).map(drop),
    })?;
    for _ in 0..3 {
        ensure!(dial(s, ONCE).send(&[&Message::call("get").strict()])? == b"reply");
    }
    Ok(())
}

const SCENARIO: Scenario = Scenario {
    services: |s| {
        let more = [(ONE_WAY, 9091), (SLOW, 9092), (ONCE, 9093)];
        let more = more.map(|(port, to)| s.service_at(port).backend(s.pod(0, to)));
        let first = s.service().backend(s.pod(0, 9090));
        [first].into_iter().chain(more).collect()
    },
    servers: |s| {
        s.serve(0, 9090, Behaviour::Echo)?;
        s.serve(0, 9091, Behaviour::Sink)?;
        let late = Duration::from_millis(1500);
        s.serve(0, 9092, Behaviour::EchoAfter(late))?;
        s.serve(0, 9093, Behaviour::ReplyOnce(b"reply".to_vec()))
    },
    traffic: |s| {
        std::thread::scope(|scope| {
            let others = scope.spawn(|| others(s));
            echo(s)?;
            others
                .join()
                .unwrap_or_else(|p| std::panic::resume_unwind(p))
        })
    },
    ..Scenario::new(31500)
};

#[test]
fn iptables_nft() -> Result<()> {
    SCENARIO.run()
}

#[test]
fn nftables_v6() -> Result<()> {
    Scenario {
        port: 31502,
        rules: Mode::Nftables,
        family: Family::V6,
        ..SCENARIO
    }
    .run()
}
