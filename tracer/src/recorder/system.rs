//! What the recorder asks of the rest of the system.

use std::{collections::BTreeSet, net::SocketAddr};

use crate::evidence::{Asked, Collector, Evidence, names::Names};

/// Where facts that no kernel program counts come from.
pub(super) trait Facts: Send + 'static {
    /// Called every few seconds with the backends known, so that what rises
    /// can be told for windows in the past. Returns how many network namespaces
    /// of backends are looked into.
    fn poll(&mut self, backends: &BTreeSet<SocketAddr>) -> u64;

    /// Adds the facts to the counts of a window.
    fn collect(&mut self, asked: Asked) -> Evidence;
}

impl Facts for Collector {
    fn poll(&mut self, backends: &BTreeSet<SocketAddr>) -> u64 {
        self.poll(backends)
    }

    fn collect(&mut self, asked: Asked) -> Evidence {
        self.collect(asked)
    }
}

/// Names for this kernel's numbers; `None`: it has none.
pub(super) trait Naming: Send + 'static {
    /// `enum skb_drop_reason`
    fn drop_reason(&self, number: u16) -> Option<&str>;
    /// `enum sk_rst_reason`
    fn reset_reason(&self, number: u16) -> Option<&str>;
    /// The function at the low half of an address in kernel text.
    fn location(&mut self, address: u32) -> Option<String>;
    /// Finds many locations at once, for [`Naming::location`].
    fn locate(&mut self, addresses: &[u32]);
    /// Why no location has a name, if so.
    fn location_absent(&self) -> Option<String>;
}

impl Naming for Names {
    fn drop_reason(&self, number: u16) -> Option<&str> {
        self.drop_reason(number)
    }

    fn reset_reason(&self, number: u16) -> Option<&str> {
        self.reset_reason(number)
    }

    fn location(&mut self, address: u32) -> Option<String> {
        self.location(address)
    }

    fn locate(&mut self, addresses: &[u32]) {
        self.locate(addresses);
    }

    fn location_absent(&self) -> Option<String> {
        self.location_absent()
    }
}

/// Counts alone, without names.
#[cfg(test)]
pub(super) struct Nothing;

#[cfg(test)]
impl Facts for Nothing {
    fn poll(&mut self, _backends: &BTreeSet<SocketAddr>) -> u64 {
        0
    }

    fn collect(&mut self, asked: Asked) -> Evidence {
        Evidence {
            window: asked.window,
            ports: asked.ports,
            rows: asked.rows,
            clients: asked.clients,
            served: asked.served,
            untold: asked.untold,
            ..Evidence::default()
        }
    }
}

#[cfg(test)]
impl Naming for Nothing {
    fn drop_reason(&self, _number: u16) -> Option<&str> {
        None
    }

    fn reset_reason(&self, _number: u16) -> Option<&str> {
        None
    }

    fn location(&mut self, _address: u32) -> Option<String> {
        None
    }

    fn locate(&mut self, _addresses: &[u32]) {}

    fn location_absent(&self) -> Option<String> {
        Some("tests have no kernel".to_owned())
    }
}
