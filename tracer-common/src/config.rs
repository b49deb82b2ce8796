//! What the loader tells the programs before they run: sizes, names and
//! read-only globals.

/// Number of lock stripes of the flow table, a power of two.
pub const LOCK_BITS: u32 = 12;

/// Ports per element of the port table; an element is one 64-byte line.
pub const PORTS_PER_LINE: usize = 32;
/// Elements of the port table: every TCP port has its place.
pub const PORT_LINES: u32 = 65_536 / PORTS_PER_LINE as u32;
/// One line of the port table: counter position plus one; 0: not watched.
pub type PortLine = [u16; PORTS_PER_LINE];

/// The row of cells that ports share which have none of their own.
pub const SHARED_ROW: u16 = 0;
/// Rows that ports get at their first SYN or dial, at most. Where more ports are
/// watched, a scan takes all of these, and [`ROWS_KEPT`] are kept back.
pub const ROWS_BY_SYN: u16 = 3072;
/// Rows for ports that are known to be somebody's, when no other is left.
pub const ROWS_KEPT: u16 = 1024;

/// The rows that are left.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowPool {
    /// Holders and takers.
    pub lock: u32,
    /// The row that is taken next.
    pub next: u32,
    /// One past the last.
    pub end: u32,
}

/// Words of the set of unchecked ports: one bit per TCP port.
pub const UNCHECKED_WORDS: u32 = 65_536 / 64;

/// Prefixes of own addresses that no interface holds (AnyIP), at most.
pub const OWN_PREFIXES: u32 = 256;

/// Addresses of Services that dials are looked up in, at most.
pub const SERVICE_ADDRESSES: u32 = 4096;

/// A hardware address as the programs look it up: six bytes as they stand in memory,
/// and two of zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac([u32; 2]);

impl Mac {
    /// The first four bytes and the last two, as they stand in memory.
    #[must_use]
    #[inline(always)]
    pub const fn new(first: u32, last: u16) -> Self {
        Self([first, last as u32])
    }
}

/// Addresses and ports, not the node's own, to which SYNs are told apart within a round.
pub const ELSEWHERE: u32 = 64;

/// Keys that one run of the sweep program takes: with the turns that each may
/// wait for its lock, a chain of jumps that the verifier still follows (8192).
pub const SWEEP_KEYS: u32 = 16;
/// Mark of a run that removes attempts which are spent, too.
pub const SWEEP_CROWDED: u32 = 1;

/// Places in the table of programs that others go on with.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Tail {
    /// The packet-socket tap of an Ethernet interface.
    Packet = 0,
    /// The packet-socket tap of an interface without link-layer header.
    PacketL3 = 1,
}
