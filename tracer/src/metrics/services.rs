//! The families about names. Those of ports are for joins: names come and go, the
//! counters of a port stay the same series.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{
    family::{counter, gauge},
    ports::NODE_PORT,
};
use crate::{
    recorder::Scrape,
    services::{Health, Table},
};

/// Writes names, and how those fare that come from Kubernetes.
pub(super) fn encode(scrape: &Scrape, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    names(&scrape.names, to)?;
    match &scrape.kubernetes {
        Some(health) => kubernetes(health, to),
        None => Ok(()),
    }
}

fn kubernetes(health: &Health, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help =
        "Whether the names of Services and pods are up to date, as far as the Kubernetes API tells";
    let synced = u64::from(health.is_synced());
    gauge(to, "tracer_kubernetes_synced", help)?.set_only(synced)?;
    let help = "Requests to the Kubernetes API that failed, by reason";
    let mut family = counter(to, "tracer_kubernetes_errors", help)?;
    for (trouble, count) in health.errors() {
        family.count(&[("reason", trouble.as_str())], count)?;
    }
    let help = "What was left out of the names, for there is too much of it or it cannot be right";
    let mut family = counter(to, "tracer_kubernetes_left_out", help)?;
    for (left, count) in health.left_out() {
        family.count(&[("what", left.as_str())], count)?;
    }
    Ok(())
}

/// Writes a series per watched port that has a name.
fn names(names: &Table, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The Service behind a port, for joins (always 1)";
    let mut family = gauge(to, "tracer_node_port_info", help)?;
    for (port, service) in names.ports() {
        let port = port.to_string();
        let labels = [
            (NODE_PORT, &*port),
            ("namespace", &*service.namespace),
            ("service", &*service.service),
            ("port_name", &*service.port_name),
        ];
        family.set(&labels, 1_u64)?;
    }
    Ok(())
}
