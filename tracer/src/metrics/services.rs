//! The family that names ports, for joins: names come and go, the counters of a
//! port stay the same series.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{family::gauge, ports::NODE_PORT};
use crate::services::Table;

/// Writes a series per watched port that has a name.
pub(super) fn encode(names: &Table, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
