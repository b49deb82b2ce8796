//! A question: what is known already of a window, and what it is to be explained with.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use tracer_common::{failure::Failure, flow::FlowKey};

use super::{Clients, Row, Sent, Served};
use crate::{config::PortSet, counted::Counted, snapshot::View};

/// What is known already, and what to find out more about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// [`Evidence::window`]
    pub window: Duration,
    /// [`Evidence::ports`]
    pub ports: Vec<(u16, Counted)>,
    /// [`Evidence::rows`]
    pub rows: Vec<Row>,
    /// [`Evidence::clients`]
    pub clients: Vec<Clients>,
    /// [`Evidence::served`]
    pub served: Vec<Served>,
    /// [`Evidence::untold`]
    pub untold: u64,
    /// Node port, backend, what it got within the window.
    pub backends: Vec<(u16, SocketAddr, Sent)>,
    /// Failed attempts without a known backend, the newest first.
    pub flows: Vec<FlowKey>,
    /// The watched ports.
    pub watched: PortSet,
    /// What the tap looks at, where it is asked what keeps it from seeing all.
    pub view: Option<View>,
}

impl Asked {
    /// Each backend once.
    pub(super) fn worst_first(&self) -> Vec<SocketAddr> {
        let mut failed: HashMap<SocketAddr, u64> = HashMap::new();
        for row in &self.rows {
            if let Some(backend) = row.backend {
                *failed.entry(backend).or_default() += row.count;
            }
        }
        let mut backends: Vec<SocketAddr> = self.backends.iter().map(|b| b.1).collect();
        backends.sort_unstable_by_key(|b| (Reverse(failed.get(b).copied()), *b));
        backends.dedup();
        backends
    }

    /// Backends that something failed at, or may have.
    pub(super) fn suspects(&self) -> HashSet<SocketAddr> {
        let failed: HashSet<_> = self.rows.iter().map(|r| (r.node_port, r.backend)).collect();
        let may = |port, backend| {
            failed.contains(&(port, Some(backend))) || failed.contains(&(port, None))
        };
        let backends = self.backends.iter();
        backends.filter(|b| may(b.0, b.1)).map(|b| b.1).collect()
    }

    /// Backends that sent a RST.
    pub(super) fn refused(&self) -> HashSet<SocketAddr> {
        let rows = self.rows.iter();
        let refused = rows.filter(|row| row.failure == Failure::Refused);
        refused.filter_map(|row| row.backend).collect()
    }
}

#[cfg(test)]
pub(super) mod tests;
