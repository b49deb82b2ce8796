//! Packets per second of `tracer replay`, and its memory, on captures that are written here.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::report::Row;
use super::spread::Spread;
use super::{Plan, usage};
use crate::workspace;

const SECTION: &str = "Replay";
/// Promised: millions of packets per second and core.
const RATE: f64 = 2.0;
/// Promised: MiB that a long file takes more than a short one with as many flows at once.
const GROWTH_MIB: f64 = 2.0;
const PORT: u16 = 30_080;
const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x01\x00";

/// A capture: flows at once, and how many times as many follow each other.
struct Traffic {
    flows: u32,
    rounds: u32,
}

const SHORT: Traffic = Traffic {
    flows: 1_000,
    rounds: 20,
};
const LONG: Traffic = Traffic {
    flows: 1_000,
    rounds: 300,
};
const MANY: Traffic = Traffic {
    flows: 100_000,
    rounds: 1,
};

/// A connection, packet by packet: from the client or not, flags, sequence and acknowledgment
/// number, payload or not.
const STEPS: [(bool, u8, u32, u32, bool); 14] = [
    (true, 0x02, 100, 0, false),
    (false, 0x12, 500, 101, false),
    (true, 0x10, 101, 501, false),
    (true, 0x18, 101, 501, true),
    (false, 0x18, 501, 118, true),
    (true, 0x18, 118, 518, true),
    (false, 0x18, 518, 135, true),
    (true, 0x18, 135, 535, true),
    (false, 0x18, 535, 152, true),
    (true, 0x18, 152, 552, true),
    (false, 0x18, 552, 169, true),
    (true, 0x11, 169, 569, false),
    (false, 0x11, 569, 170, false),
    (true, 0x10, 170, 570, false),
];

/// A capture that is removed in the end.
struct Capture(PathBuf);

impl Drop for Capture {
    fn drop(&mut self) {
        // It may not have been written.
        let _ = fs::remove_file(&self.0);
    }
}

impl Traffic {
    fn packets(&self) -> f64 {
        f64::from(self.flows) * f64::from(self.rounds) * STEPS.len() as f64
    }

    fn write(&self) -> Result<Capture> {
        let capture = Capture(workspace::target_dir("bench")?.join("replay.pcap"));
        let file = File::create(&capture.0).context("write a capture")?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0])?;
        out.write_all(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0])?;
        let mut us = 0;
        for round in 0..self.rounds {
            for step in STEPS {
                for flow in 0..self.flows {
                    us += 1;
                    packet(&mut out, us, round * self.flows + flow, step)?;
                }
            }
        }
        out.flush().context("write a capture")?;
        Ok(capture)
    }
}

/// A record with an Ethernet frame.
fn packet(
    out: &mut impl Write,
    us: u64,
    flow: u32,
    (to_node, flags, seq, ack, data): (bool, u8, u32, u32, bool),
) -> Result<()> {
    let payload = if data { CALL } else { &[] };
    let client = [10, (flow >> 16) as u8, (flow >> 8) as u8, flow as u8];
    let (node, client_port) = ([192, 168, 0, 7], 40_000_u16);
    let total = 40 + payload.len() as u16;
    let length = u32::from(14 + total).to_le_bytes();
    let mut bytes = Vec::with_capacity(90);
    bytes.extend(((1_700_000_000 + us / 1_000_000) as u32).to_le_bytes());
    bytes.extend(((us % 1_000_000) as u32).to_le_bytes());
    bytes.extend([length, length].concat());
    bytes.extend([0; 12]);
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    let (ips, ports) = if to_node {
        ([client, node], [client_port, PORT])
    } else {
        ([node, client], [PORT, client_port])
    };
    bytes.extend(ips.concat());
    bytes.extend(ports.map(u16::to_be_bytes).concat());
    bytes.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    bytes.extend([0x50, flags, 255, 255, 0, 0, 0, 0]);
    bytes.extend(payload);
    out.write_all(&bytes).context("write a capture")
}

/// Without a daemon: the file is in the page cache, where it was just written.
pub(super) fn rows(binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let (mut rows, short) = measure(binary, plan, &SHORT, None)?;
    rows.extend(measure(binary, plan, &LONG, Some(short))?.0);
    rows.extend(measure(binary, plan, &MANY, None)?.0);
    Ok(rows)
}

/// The rows of a capture, and the memory that it took.
fn measure(
    binary: &Path,
    plan: &Plan,
    traffic: &Traffic,
    short: Option<f64>,
) -> Result<(Vec<Row>, f64)> {
    let capture = traffic.write()?;
    let (mut rates, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..plan.cpu_rounds {
        let mut command = Command::new(binary);
        command.args(["replay", "--openmetrics"]).arg(&capture.0);
        command.stdout(Stdio::null());
        let used = usage::of(&mut command)?;
        ensure!(used.status == 0, "tracer replay: status {}", used.status);
        rates.push(traffic.packets() / used.cpu.as_secs_f64() / 1e6);
        memory.push(used.memory as f64 / 1024.0 / 1024.0);
    }
    let name = format!(
        "{} flows at once, {:.1} million packets",
        traffic.flows,
        traffic.packets() / 1e6
    );
    let (rate, memory) = (Spread::of(rates), Spread::of(memory));
    let promise = format!("≥ {RATE}");
    let speed = Row::new(SECTION, name.clone(), "million packets/s of CPU time", rate);
    let kept = rate.median >= RATE;
    let mut resident = Row::new(SECTION, format!("{name}: highest resident"), "MiB", memory);
    if let Some(short) = short {
        let limit = short + GROWTH_MIB;
        let promise = format!("≤ {limit:.1} ({GROWTH_MIB} more than the short file)");
        resident = resident.promised(promise, memory.median <= limit);
    }
    Ok((vec![speed.promised(promise, kept), resident], memory.median))
}
