//! The families about the daemon itself.

use std::{collections::BTreeMap, fmt};

use prometheus_client::encoding::DescriptorEncoder;
use tracer_common::words::Lost;

use super::{
    family::{counter, gauge},
    process::Process,
};
use crate::{
    build_info::{COMMIT, VERSION},
    logging,
    recorder::Scrape,
    snapshot::HookStatus,
};

/// Writes what the daemon knows of its hooks, tables and losses, and of the system.
pub(super) fn encode(scrape: &Scrape, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let snapshot = &*scrape.snapshot;
    let help =
        "TCP packets on tapped interfaces and dials that were not taken into account, by reason";
    let mut family = counter(to, "tracer_events_lost", help)?;
    for (stage, value) in Lost::ALL.iter().zip(snapshot.lost) {
        family.count(&[("stage", stage.as_str())], value)?;
    }
    let help = "Lines of the log that could not be written, or not in time";
    counter(to, "tracer_log_lines_lost", help)?.count_only(logging::lost())?;
    let help = "Times that the kernel left a program at a socket hook out, since it was running on that \
                CPU already: what it would have counted or noted is missing";
    counter(to, "tracer_hook_misses", help)?.count_only(snapshot.misses)?;
    let help = "Attempts and connections in the flow table";
    gauge(to, "tracer_flows", help)?.set_only(snapshot.flows)?;
    let help = "Places in the flow table";
    gauge(to, "tracer_flows_capacity", help)?.set_only(snapshot.flows_capacity)?;
    let help = "Own addresses of this node: attempts at these are counted";
    gauge(to, "tracer_node_addresses", help)?.set_only(snapshot.addresses)?;
    let help = "Network namespaces of known backends on this node that are looked into";
    gauge(to, "tracer_backend_namespaces", help)?.set_only(scrape.namespaces)?;
    let help = "Times that the system clock was set by half a second or more";
    counter(to, "tracer_clock_steps", help)?.count_only(scrape.clock_steps)?;
    let help =
        "Rounds of the daemon, one a second, that began 5 s late or more, for want of CPU time";
    counter(to, "tracer_late_rounds", help)?.count_only(scrape.late_rounds)?;
    hooks(&snapshot.hooks, to)
}

/// One series per hook and mode, whatever number of places it has: 1 when it
/// is attached in all of them.
fn hooks(hooks: &[HookStatus], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut attached = BTreeMap::new();
    for hook in hooks {
        *attached.entry((hook.hook, hook.mode)).or_insert(true) &= hook.attached;
    }
    let help = "Whether a hook is attached, and how";
    let mut family = gauge(to, "tracer_hook_attached", help)?;
    for ((hook, mode), attached) in attached {
        family.set(&[("hook", hook), ("mode", mode)], u64::from(attached))?;
    }
    Ok(())
}

/// Writes which build runs.
pub(super) fn build(to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Version and commit of this build";
    gauge(to, "tracer_build_info", help)?.set(&[("version", VERSION), ("commit", COMMIT)], 1_u64)
}

/// Writes what the kernel says about this process, as far as it says it.
pub(super) fn process(process: &Process, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(value) = process.cpu_seconds {
        let help = "User and system CPU time of this process in seconds";
        counter(to, "process_cpu_seconds", help)?.count_only(value)?;
    }
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Resident memory of this process",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory of this process",
            process.virtual_bytes,
        ),
        (
            "process_open_fds",
            "Open file descriptors of this process",
            process.open_fds,
        ),
        (
            "process_max_fds",
            "Most file descriptors this process may open",
            process.max_fds,
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            gauge(to, name, help)?.set_only(value)?;
        }
    }
    if let Some(value) = process.start_seconds {
        let help = "Start of this process in seconds since the epoch";
        gauge(to, "process_start_time_seconds", help)?.set_only(value)?;
    }
    Ok(())
}
