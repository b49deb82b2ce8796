//! Settings that change what is counted, and under which name.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Topology,
    addr::{NODE_V4, NODE_V6, client_v4, client_v6, phantom_v4, phantom_v6},
    cleanup::ScratchDir,
    peer::{
        Dial,
        thrift::{Message, framed},
    },
    raw::Answer,
};

use crate::scene::{LIMIT, Scene, TAPS, at, attempts, expect, nothing_else, port, refused, sum};

#[test]
fn probe_sources() -> Result<()> {
    let scene = Scene::build(&Topology::builder().client_addresses(2))?;
    let sources = [
        "--probe-source",
        "172.16.0.0/24",
        "--probe-source",
        "fd00:60:1::/112",
        "--probe-source",
        "10.60.0.11/32",
        "--probe-source",
        "fd00:60::11/128",
    ];
    for tap in TAPS {
        let tracer = scene.trace(tap, &sources)?;
        for inside in [0, 255, 256] {
            let from = at(phantom_v4(inside), 5000);
            scene.raw.syn(from, at(NODE_V4, port::CLOSED), 1)?;
        }
        for inside in [1, 0xffff, 0x1_0000] {
            let from = at(phantom_v6(inside), 5000);
            scene.raw.syn(from, at(NODE_V6, port::CLOSED), 1)?;
        }
        let wanted = [("refused health_check", 4), ("refused unknown", 2)];
        expect(&tracer, port::CLOSED, &wanted)?;
        let call = Message::call("getUser").strict();
        for i in 0..2 {
            let four = Dial::new(&scene.bed.client, at(NODE_V4, port::OPEN));
            let six = Dial::new(&scene.bed.client, at(NODE_V6, port::OPEN));
            four.from(at(client_v4(i), 0)).send(&[&call])?;
            six.from(at(client_v6(i), 0)).send(&[&call])?;
        }
        let wanted = [("established health_check", 2), ("established thrift", 2)];
        nothing_else(&expect(&tracer, port::OPEN, &wanted)?);
    }
    Ok(())
}

#[test]
fn probe_methods() -> Result<()> {
    let scene = Scene::new()?;
    let methods = ["--probe-method", "ping", "--probe-method", "Health:check"];
    for tap in TAPS {
        let tracer = scene.trace(tap, &methods)?;
        let dial = Dial::new(&scene.bed.client, at(NODE_V6, port::OPEN));
        for method in ["ping", "Health:check", "pin", "pings", "getUser"] {
            let call = Message::call(method);
            let frame = framed(&call.strict());
            dial.send(&[&call.strict()])?;
            dial.send(&[&frame])?;
            dial.send(&[&call.compact()])?;
            // The name arrives in pieces.
            dial.send(&[&frame[..4], &frame[4..13], &frame[13..]])?;
        }
        let wanted = [("established health_check", 8), ("established thrift", 12)];
        nothing_else(&expect(&tracer, port::OPEN, &wanted)?);
    }
    Ok(())
}

#[test]
fn ports_outside_the_list() -> Result<()> {
    let scene = Scene::new()?;
    let listed = [port::CLOSED, port::LAST, 31206];
    let ports = format!("{},{}-{},31206", port::CLOSED, port::LAST, port::LAST);
    for tap in TAPS {
        let tracer = scene.trace_ports(&ports, tap, &[])?;
        let all = [port::CLOSED, 31204, 31205, 31206, 31207, port::OUTSIDE];
        for to in all {
            refused(&scene.bed.client, at(NODE_V4, to))?;
            refused(&scene.bed.client, at(NODE_V6, to))?;
        }
        let metrics = scene.settle(&tracer, phantom_v4(1).into(), NODE_V4.into())?;
        let counted = metrics.values_of("tracer_attempts_total", "node_port");
        let listed = listed.map(|port| port.to_string());
        assert_eq!(counted, listed.into_iter().collect());
        for port in [port::CLOSED, 31206] {
            expect(&tracer, port, &[("refused unknown", 2)])?;
        }
    }
    Ok(())
}

#[test]
fn a_full_flow_table() -> Result<()> {
    const ATTEMPTS: u16 = 200;
    const FLOWS: u64 = 64;
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &["--flows", "64", "--handshake-timeout", "5s"])?;
        for source in 0..ATTEMPTS {
            let to = at(NODE_V4, port::SILENT);
            scene
                .raw
                .syn_only(at(phantom_v4(1), 5000 + source), to, 1)?;
        }
        let untracked = |m: &_| sum(m, "tracer_untracked_syns_total", port::SILENT, &[]);
        let metrics = tracer.metrics_when(LIMIT, "SYNs not counted", |metrics| {
            attempts(metrics, port::SILENT) == u64::from(ATTEMPTS)
        })?;
        assert_eq!(untracked(&metrics), u64::from(ATTEMPTS) - FLOWS);
        let pending = sum(&metrics, "tracer_handshakes_pending", port::SILENT, &[]);
        let timed_out = sum(&metrics, "tracer_handshakes_total", port::SILENT, &[]);
        assert_eq!(pending + timed_out, FLOWS);
        let of = [("outcome", "timed_out")];
        tracer.metrics_when(LIMIT, "flows remain", |metrics| {
            sum(metrics, "tracer_handshakes_total", port::SILENT, &of) == FLOWS
                && metrics.sum("tracer_flows", &[]) == 0.0
        })?;
        // There is room again.
        for source in 0..50 {
            let (from, to) = (at(phantom_v4(2), 5000 + source), at(NODE_V4, port::CLOSED));
            let answer = scene.raw.syn(from, to, 1)?;
            ensure!(answer == Answer::Rst, "{answer:?}");
        }
        let metrics = expect(&tracer, port::CLOSED, &[("refused unknown", 50)])?;
        assert_eq!(untracked(&metrics), u64::from(ATTEMPTS) - FLOWS);
        nothing_else(&metrics);
    }
    Ok(())
}

#[test]
fn the_idle_threshold() -> Result<()> {
    let scene = Scene::new()?;
    let tracer = scene.trace("auto", &["--idle-after", "1s"])?;
    let dial = Dial::new(&scene.bed.client, at(NODE_V4, port::OPEN));
    dial.connect_fin()?;
    dial.idle(Duration::from_millis(1500))?;
    let wanted = [("established health_check", 1), ("established idle", 1)];
    nothing_else(&expect(&tracer, port::OPEN, &wanted)?);
    Ok(())
}

/// A file of names says that the load balancer checks another port than
/// [`port::OPEN`], and later that nothing is known of its checks.
#[test]
fn health_check_ports() -> Result<()> {
    let scene = Scene::new()?;
    let dir = ScratchDir::new()?;
    let names = |service: &str, checked: &str| {
        let open = port::OPEN;
        format!("ports: [{{node_port: {open}, namespace: thrift, service: {service}{checked}}}]")
    };
    for tap in TAPS {
        let checked = format!(", health_check_port: {}", port::CLOSED);
        let file = dir.write("names.yaml", &names("users", &checked))?;
        let file = file.to_str().context("a plain path")?;
        let tracer = scene.trace(tap, &["--services", file])?;
        let info = |service: &str| {
            let port = port::OPEN.to_string();
            let labels = [("node_port", &*port), ("service", service)];
            tracer.metrics_when(LIMIT, "the name is not there", |metrics| {
                metrics.sum("tracer_node_port_info", &labels) == 1.0
            })
        };
        info("users")?;
        let dial = Dial::new(&scene.bed.client, at(NODE_V4, port::OPEN));
        dial.connect_fin()?;
        dial.connect_rst()?;
        dial.send(&[&Message::call("getUser").strict()])?;
        let half_open = |from| {
            scene
                .raw
                .half_open(at(client_v4(0), from), at(NODE_V4, port::OPEN), 1)
        };
        half_open(5100)?;
        let wanted = [
            ("established unknown", 2),
            ("established thrift", 1),
            ("half_open unknown", 1),
        ];
        nothing_else(&expect(&tracer, port::OPEN, &wanted)?);

        // Renamed, and the check may go anywhere: what was counted stays.
        dir.write("names.yaml", &names("accounts", ""))?;
        info("accounts")?;
        // The programs are told within a second of the names.
        std::thread::sleep(Duration::from_millis(1500));
        dial.connect_fin()?;
        half_open(5101)?;
        let wanted = [
            ("established health_check", 1),
            ("established unknown", 2),
            ("established thrift", 1),
            ("half_open health_check", 1),
            ("half_open unknown", 1),
        ];
        nothing_else(&expect(&tracer, port::OPEN, &wanted)?);
    }
    Ok(())
}
