//! Resident memory of the daemon, and kernel memory of its maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::maps::MapInfo;
use aya::programs::loaded_programs;
use serde::Deserialize;
use testbed::addr::{NODE_V4, phantom_v4};
use testbed::{RawClient, Tracer, rules};

use super::bpf::map_memory;
use super::explain::explain;
use super::load::Bed;
use super::machine::field;
use super::programs::program_ids;
use super::report::Row;
use super::scrape::ACTIVE_PORTS;
use super::spread::Spread;
use super::start;

const SECTION: &str = "Memory";
const MIB: f64 = 1024.0 * 1024.0;
/// Promised.
const MAPS_MIB: f64 = 16.0;
const RSS_MIB: f64 = 40.0;
/// Flows at once: the default size of the table.
const FLOWS: u32 = 46_080;
/// Rounds until it is looked whether the daemon's history is full, and at most.
const ROUNDS: usize = 25;
const MOST_ROUNDS: usize = 2_000;
/// A NodePort whose SYNs are dropped.
const SILENT: u16 = 30_099;

/// Starts a daemon of its own.
pub(super) fn rows(bed: &Bed, binary: &Path) -> Result<Vec<Row>> {
    // Time to make all the flows before the first is given up.
    let names = bed.names()?;
    let args = ["--handshake-timeout", "60s", "--services", &names];
    let tracer = start(bed, binary, &args)?;
    let mut rows = resident("fresh", &tracer)?;
    bed.touch_ports(ACTIVE_PORTS)?;
    tracer.metrics()?;
    rows.extend(resident("500 active ports, scraped", &tracer)?);
    let flows = fill(bed, &tracer)?;
    tracer.metrics()?;
    rows.extend(resident(
        &format!("500 active ports, {flows} flows, scraped"),
        &tracer,
    )?);
    remember(bed, binary, &tracer)?;
    rows.extend(resident("the same, full history, explained", &tracer)?);
    rows.extend(maps(&tracer)?);
    Ok(rows)
}

fn resident(state: &str, tracer: &Tracer<'_>) -> Result<Vec<Row>> {
    let path = format!("/proc/{}/status", tracer.process().pid());
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let row = |name: &str, what: &str| -> Result<Row> {
        let kib = field(&status, name).with_context(|| format!("{path}: no {name}"))?;
        let kib: f64 = kib.trim_end_matches(" kB").parse()?;
        let figure = format!("{state}: {what}");
        Ok(Row::new(SECTION, figure, "MiB", Spread::of([kib / 1024.0])))
    };
    Ok(vec![
        row("VmRSS", "resident")?.at_most(Some(RSS_MIB)),
        row("VmHWM", "resident, highest so far")?.at_most(Some(RSS_MIB)),
        row("RssAnon", "of it anonymous")?,
    ])
}

/// A full flow table: SYNs from that many addresses, without an answer. Returns the number of
/// flows that the daemon then reports.
fn fill(bed: &Bed, tracer: &Tracer<'_>) -> Result<u64> {
    let topology = &bed.topology;
    let rule = rules::drop_syns(&topology.node, SILENT)?;
    let client = RawClient::open(&topology.client)?;
    for i in 0..FLOWS {
        let from = SocketAddr::from((phantom_v4(i), 40_000));
        client.syn_only(from, (NODE_V4, SILENT).into(), i)?;
    }
    // As the daemon looks at the table every so often, its count follows.
    let full = f64::from(FLOWS) * 0.99;
    let metrics =
        tracer.metrics_when(Duration::from_secs(10), "the flow table is not full", |m| {
            m.sum("tracer_flows", &[]) >= full
        })?;
    rule.remove(&topology.node)?;
    Ok(metrics.sum("tracer_flows", &[]) as u64)
}

/// A full history: failures at all active ports, round after round, until an explanation reaches
/// back less far than the first round.
fn remember(bed: &Bed, binary: &Path, tracer: &Tracer<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Told {
        window_s: f64,
    }
    let start = Instant::now();
    for _ in 0..MOST_ROUNDS / ROUNDS {
        for _ in 0..ROUNDS {
            bed.touch_ports(ACTIVE_PORTS)?;
            tracer.scrape("text/plain;version=0.0.4")?;
        }
        let told = explain(bed, binary, tracer, "15m")?;
        let told: Told = serde_json::from_str(&told)?;
        if told.window_s < start.elapsed().as_secs_f64() {
            return Ok(());
        }
    }
    bail!("the history is not full after {MOST_ROUNDS} rounds")
}

/// Every map that one of the daemon's programs uses, largest first, and their sum.
fn maps(tracer: &Tracer<'_>) -> Result<Vec<Row>> {
    let ids = program_ids(tracer.process().pid())?;
    let mut map_ids = BTreeSet::new();
    for program in loaded_programs() {
        let Ok(program) = program else { continue };
        if ids.contains_key(&program.id()) {
            map_ids.extend(program.map_ids()?.unwrap_or_default());
        }
    }
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for id in map_ids {
        let map = MapInfo::from_id(id).with_context(|| format!("map {id}"))?;
        let name = map.name_as_str().unwrap_or("?").to_owned();
        let fd = map.fd().with_context(|| format!("open map {name}"))?;
        *sizes.entry(name).or_default() += map_memory(std::os::fd::AsFd::as_fd(&fd))?;
    }
    let row = |figure: String, bytes: u64| {
        Row::new(SECTION, figure, "MiB", Spread::of([bytes as f64 / MIB]))
    };
    let total = row("maps, together".to_owned(), sizes.values().sum());
    let mut sizes: Vec<(String, u64)> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let each = sizes
        .into_iter()
        .map(|(name, bytes)| row(format!("map `{name}`"), bytes));
    Ok([total.at_most(Some(MAPS_MIB))]
        .into_iter()
        .chain(each)
        .collect())
}
