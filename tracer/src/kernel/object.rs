//! The kernel object inside this binary, and what it is told before it runs.

use std::{os::unix::fs::MetadataExt as _, time::Duration};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, LpmTrie, Map, MapError, lpm_trie},
};
use ipnet::IpNet;
use tracer_common::{
    config::{PORTS_PER_LINE, PortLine},
    first_bytes::ProbeMethods,
    flow::Addr,
    machine::Limits,
};

use super::{interfaces::addr, layout, rows};
use crate::{config::Config, hooks::Plan};

/// The object as built; empty in a debug build without bpf-linker.
pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Seconds without a packet until a connection that one side has closed is
/// given up: as long as conntrack keeps FIN_WAIT (nf_conntrack_tcp_timeout_fin_wait).
const HALF_CLOSED_AFTER: Duration = Duration::from_secs(120);

/// Loads the maps and programs with the operator's settings; attaches nothing.
pub fn load(config: &Config, plan: &Plan) -> anyhow::Result<Ebpf> {
    if OBJECT.is_empty() {
        bail!(
            "this debug build carries no kernel programs; build with `cargo build --release -p tracer`"
        );
    }
    layout::compare(OBJECT)?;
    raise_memlock();
    let limits = limits(config)?;
    let rows = rows::Plan::new(config.ports.len())?;
    let has_probe_sources = u8::from(!config.probe_sources.is_empty());
    let log_level = config.kernel_log.level();
    let log_bytes = if log_level == 0 { 4096 } else { 128 * 1024 };
    let mut loader = EbpfLoader::new();
    // The object has no CO-RE relocations, and aya's copy of the kernel's types
    // would take 20 MB for a moment.
    loader.btf(None);
    plan.globals(&mut loader);
    let mut ebpf = loader
        .override_global("HANDSHAKE_TIMEOUT_NS", &limits.handshake_timeout_ns, true)
        .override_global("IDLE_AFTER_NS", &limits.idle_after_ns, true)
        .override_global("EXPIRE_AFTER_S", &limits.expire_after_s, true)
        .override_global("HALF_CLOSED_AFTER_S", &limits.half_closed_after_s, true)
        .override_global("PROBE_METHODS", &limits.probes, true)
        .override_global("HAS_PROBE_SOURCES", &has_probe_sources, true)
        .override_global("NODE_NETNS", &node_netns(), true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("PORTS", rows.rows().into())
        .map_max_entries("ROWS", u32::try_from(config.ports.len())?)
        .map_max_entries("FLOWS", config.flows)
        .map_max_entries("AYA_LOGS", log_bytes)
        .load(OBJECT)
        .context("load the kernel object")?;
    rows.write(&mut ebpf)?;
    fill_ports(&mut ebpf, config.ports.as_slice())?;
    fill_probe_sources(&mut ebpf, config)?;
    Ok(ebpf)
}

/// Inode of the calling thread's network namespace, which is the node's; 0 when /proc
/// does not tell: then every namespace counts as the node's.
fn node_netns() -> u32 {
    let file = std::fs::metadata("/proc/thread-self/ns/net");
    file.map_or(0, |file| u32::try_from(file.ino()).unwrap_or(0))
}

/// A map of the object by name.
pub fn borrow<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<T>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("the kernel object has no map {name}"))?;
    T::try_from(map).with_context(|| format!("map {name}"))
}

/// Takes a map out of the object by name. It must live until every program that
/// uses it is loaded.
pub fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<T> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the kernel object has no map {name}"))?;
    T::try_from(map).with_context(|| format!("map {name}"))
}

fn fill_ports(ebpf: &mut Ebpf, ports: &[u16]) -> anyhow::Result<()> {
    let mut lines = std::collections::BTreeMap::<u32, PortLine>::new();
    for (slot, port) in (1..=u16::MAX).zip(ports) {
        let line = lines
            .entry(u32::from(*port) / PORTS_PER_LINE as u32)
            .or_default();
        if let Some(place) = line.get_mut(usize::from(*port) % PORTS_PER_LINE) {
            *place = slot;
        }
    }
    let mut map: Array<_, PortLine> = borrow(ebpf, "PORT_SLOTS")?;
    for (index, line) in lines {
        map.set(index, line, 0).context("write the port table")?;
    }
    Ok(())
}

fn fill_probe_sources(ebpf: &mut Ebpf, config: &Config) -> anyhow::Result<()> {
    let mut map: LpmTrie<_, Addr, u8> = borrow(ebpf, "PROBE_SOURCES")?;
    for source in &config.probe_sources {
        map.insert(&prefix_key(source), 1, 0)
            .with_context(|| format!("probe source {source}"))?;
    }
    Ok(())
}

/// A prefix as the programs look it up: IPv4 is mapped.
pub fn prefix_key(net: &IpNet) -> lpm_trie::Key<Addr> {
    let mapped_bits = if net.addr().is_ipv4() { 96 } else { 0 };
    lpm_trie::Key::new(
        mapped_bits + u32::from(net.prefix_len()),
        addr(net.network()),
    )
}

/// The operator's limits as the machine wants them.
pub fn limits(config: &Config) -> anyhow::Result<Limits> {
    Ok(Limits {
        handshake_timeout_ns: nanoseconds(config.handshake_timeout),
        idle_after_ns: nanoseconds(config.idle_after),
        expire_after_s: seconds(config.expire_after),
        half_closed_after_s: seconds(HALF_CLOSED_AFTER.min(config.expire_after)),
        probes: probe_methods(&config.probe_methods)?,
    })
}

fn probe_methods(names: &[String]) -> anyhow::Result<ProbeMethods> {
    let mut methods = ProbeMethods::new();
    for name in names {
        methods
            .push(name)
            .with_context(|| format!("probe method {name:?}"))?;
    }
    Ok(methods)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Before 5.11 map memory counts against RLIMIT_MEMLOCK.
fn raise_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    // Needs CAP_SYS_RESOURCE; where it matters, creating maps fails and says so.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}
