//! What the recorder asks of the rest of the system.

use std::{collections::BTreeSet, net::SocketAddr};

use crate::{
    evidence::{Asked, Collector, Evidence, Row},
    verdict::Verdict,
};

impl Facts for Collector {
    fn poll(&mut self, backends: &BTreeSet<SocketAddr>) {
        self.poll(backends);
    }

    fn collect(&mut self, asked: Asked) -> Evidence {
        self.collect(asked)
    }
}

pub(super) fn of_row(_row: &Row, _context: &Evidence) -> Verdict {
    Verdict::Unexplained
}

/// Counts alone.
pub(super) struct Nothing;

impl Facts for Nothing {
    fn poll(&mut self, _backends: &BTreeSet<SocketAddr>) {}

    fn collect(&mut self, asked: Asked) -> Evidence {
        Evidence {
            window: asked.window,
            ports: asked.ports,
            rows: asked.rows,
            ..Evidence::default()
        }
    }
}

impl Naming for Nothing {
    fn drop_reason(&self, _number: u16) -> Option<String> {
        None
    }

    fn reset_reason(&self, _number: u16) -> Option<String> {
        None
    }

    fn location(&mut self, _address: u32) -> Option<String> {
        None
    }
}

/// Where facts that no kernel program counts come from.
pub(super) trait Facts: Send + 'static {
    /// Called every few seconds with the backends known, so that what rises
    /// can be told for windows in the past.
    fn poll(&mut self, backends: &BTreeSet<SocketAddr>);

    /// Adds the facts to the counts of a window.
    fn collect(&mut self, asked: Asked) -> Evidence;
}

/// Names for this kernel's numbers; `None`: it has none.
pub(super) trait Naming: Send + 'static {
    /// `enum skb_drop_reason`
    fn drop_reason(&self, number: u16) -> Option<String>;
    /// `enum sk_rst_reason`
    fn reset_reason(&self, number: u16) -> Option<String>;
    /// Low half of an address in kernel text.
    fn location(&mut self, address: u32) -> Option<String>;
}
