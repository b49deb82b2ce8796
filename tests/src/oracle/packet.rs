//! Packets as tshark's fields.

use anyhow::{Context as _, Result};

/// The tshark fields that are read, in the order of [`Packet::parse`].
pub(super) const FIELDS: [&str; 14] = [
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.len",
    "icmp.type",
    "icmpv6.type",
    "tcp.payload",
    "tcp.seq",
];

/// One packet: a segment, or an ICMP error with the segment that it quotes.
pub(super) struct Packet {
    pub(super) src: (String, u16),
    pub(super) dst: (String, u16),
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) len: u32,
    /// Destination unreachable: ICMP type 3, ICMPv6 type 1.
    pub(super) is_unreachable: bool,
    /// In hexadecimal.
    pub(super) payload: String,
}

impl Packet {
    /// In an ICMP error the quoted headers come after its own: the last counts.
    pub(super) fn parse(row: &[String]) -> Result<Self> {
        let field = |i: usize| {
            row.get(i)
                .and_then(|f| f.rsplit(',').next())
                .unwrap_or_default()
        };
        let number = |i: usize| match field(i) {
            "" => Ok(0),
            text => text.parse::<u32>().with_context(|| FIELDS[i]),
        };
        let port = |i: usize| u16::try_from(number(i)?).context(FIELDS[i]);
        let hex = field(8).trim_start_matches("0x");
        // In a quote tshark calls it so: there is nothing it could be relative to.
        let seq = if field(6).is_empty() { 13 } else { 6 };
        Ok(Self {
            src: ([field(0), field(1)].concat(), port(4)?),
            dst: ([field(2), field(3)].concat(), port(5)?),
            seq: number(seq)?,
            ack: number(7)?,
            flags: u8::try_from(u16::from_str_radix(hex, 16).unwrap_or(0) & 0xff)?,
            len: number(9)?,
            is_unreachable: field(10) == "3" || field(11) == "1",
            payload: field(12).to_owned(),
        })
    }

    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}
