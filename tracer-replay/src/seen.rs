//! What a capture had, besides flows.

use std::collections::{BTreeMap, HashMap};

use tracer_common::{flow::Addr, words::Lost};

use super::{
    capture::Record, destinations::Destinations, encapsulation::Encapsulation, undecoded::Undecoded,
};

/// Addresses of the node that are remembered.
const REMEMBERED: usize = 1024;
/// Bytes of a payload that decide, with a short PROXY header before them.
const FIRST_BYTES: u32 = 64;

/// What the capture had.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Packets.
    pub packets: u64,
    /// Opening SYNs by the address that they went to.
    pub nodes: HashMap<Addr, u64>,
    /// Opening SYNs to watched ports of other addresses than the node's.
    pub elsewhere: Destinations,
    /// Opening SYNs to watched ports that the capturing host itself sent.
    pub dialled: Destinations,
    /// Opening SYNs to ports that are not watched.
    pub unwatched: Destinations,
    /// TCP segments whose headers were read.
    pub segments: u64,
    /// Packets that were decoded out of an encapsulation, by the outermost one.
    pub encapsulated: [u64; Encapsulation::COUNT],
    /// Packets that were not read to a TCP header, by what they are.
    pub undecoded: BTreeMap<Undecoded, u64>,
    /// Packets of which not even the headers were captured.
    pub short: u64,
    /// Connections whose class would be told by bytes that were not captured.
    pub unclassified: u64,
    /// Bytes from a packet's beginning within which these would have been.
    pub needed: u32,
    /// Bytes captured of the longest packet that was cut; 0: none was.
    pub snaplen: usize,
    /// Packets longer in the capture than on the wire.
    pub overlong: u64,
    /// Packets on the loopback interface, of captures of all interfaces.
    pub loopback: u64,
    /// What the daemon would not have taken into account either.
    pub lost: [u64; Lost::COUNT],
}

impl Seen {
    /// Notes how much of a packet was captured.
    #[inline]
    pub(crate) fn measure(&mut self, record: &Record<'_>) {
        let captured = record.bytes.len();
        if captured < record.original as usize {
            self.snaplen = self.snaplen.max(captured);
        }
    }

    /// A connection whose first bytes, from `payload` on, were not captured.
    pub(crate) fn miss(&mut self, payload: u32) {
        self.unclassified += 1;
        self.needed = self.needed.max(payload.saturating_add(FIRST_BYTES));
    }

    /// A packet that is not read to a TCP header.
    pub(crate) fn pass(&mut self, what: Undecoded) {
        *self.undecoded.entry(what).or_default() += 1;
    }

    /// A packet that the daemon would not have read either.
    pub(crate) fn lose(&mut self, why: Lost) {
        if let Some(count) = self.lost.get_mut(why.index()) {
            *count += 1;
        }
    }

    /// An opening SYN to an address of the node.
    pub(crate) fn note_node(&mut self, address: Addr) {
        if let Some(count) = self.nodes.get_mut(&address) {
            *count += 1;
        } else if self.nodes.len() < REMEMBERED {
            self.nodes.insert(address, 1);
        }
    }
}
