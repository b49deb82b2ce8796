//! A client as if on another machine: this kernel is the client's too, and its hooks would take the
//! client's sockets for dials made on the node.

use anyhow::Result;

use super::load::{Bed, Short};

/// While it lives, the client's own NAT turns ports that are not watched into NodePorts.
pub(super) struct Elsewhere<'a>(&'a Bed);

impl<'a> Elsewhere<'a> {
    /// Puts up the client's NAT.
    ///
    /// # Errors
    /// nft refuses it.
    pub(super) fn of(bed: &'a Bed) -> Result<Self> {
        let far = |kind| format!("tcp dport {} dnat to :{}", dialed(kind), kind.port());
        let rules = format!(
            "table ip elsewhere {{\n chain out {{\n type nat hook output priority -100\n {}\n {}\n }}\n}}\n",
            far(Short::Call),
            far(Short::Refused)
        );
        bed.topology.client.run_with(&["nft", "-f", "-"], &rules)?;
        Ok(Self(bed))
    }

    /// As [`Bed::short`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn short(&self, kind: Short, count: usize) -> Result<()> {
        self.0.short_by(kind, dialed(kind), count)
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        let remove = ["nft", "delete", "table", "ip", "elsewhere"];
        if let Err(error) = self.0.topology.client.run(&remove) {
            eprintln!("the client's NAT stays: {error:#}");
        }
    }
}

/// The port that the client dials for a NodePort.
fn dialed(kind: Short) -> u16 {
    kind.port() - 10_000
}
