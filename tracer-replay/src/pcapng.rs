//! The pcapng file format (draft-ietf-opsawg-pcapng).

use super::{
    capture::{Direction, End, Next, Record, array},
    window::{LONGEST, Window},
};

/// Type of a section header block, the same in both byte orders.
pub(crate) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Bytes before the packet of an enhanced (or old) packet block.
const PACKET: usize = 28;
/// Interfaces that a section may have.
const INTERFACES: usize = 1 << 16;
const NS_PER_S: u64 = 1_000_000_000;

/// An interface of the present section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u16,
    snaplen: u32,
    /// Units of its times per second.
    units: u64,
    /// Seconds to add to its times.
    offset: i64,
}

/// The present section.
pub(crate) struct PcapNg {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

impl PcapNg {
    pub(crate) fn new() -> Self {
        Self {
            big_endian: false,
            interfaces: Vec::new(),
        }
    }

    /// The next block.
    pub(crate) fn next<'a>(&mut self, window: &'a mut Window) -> Next<'a> {
        if !window.fill(12) {
            return Next::End(if window.bytes().is_empty() {
                End::Whole
            } else {
                End::Cut
            });
        }
        if window.bytes().starts_with(&MAGIC) {
            match array(window.bytes(), 8) {
                [0x1a, 0x2b, 0x3c, 0x4d] => self.big_endian = true,
                [0x4d, 0x3c, 0x2b, 0x1a] => self.big_endian = false,
                _ => return broken("a section has no byte-order magic"),
            }
            self.interfaces.clear();
        }
        let kind = self.u32(window.bytes(), 0);
        let size = self.u32(window.bytes(), 4) as usize;
        if size < 12 || !size.is_multiple_of(4) || size > LONGEST {
            return broken(&format!("a block of {size} bytes cannot be"));
        }
        if !window.fill(size) {
            return Next::End(End::Cut);
        }
        if self.u32(window.bytes(), size - 4) as usize != size {
            return broken("the two lengths of a block differ");
        }
        let block = window.take(size);
        // Without its length at the end.
        let block = block.get(..size - 4).unwrap_or_default();
        match kind {
            INTERFACE => self.interface(block),
            ENHANCED_PACKET | OLD_PACKET => self.packet(kind, block),
            SIMPLE_PACKET => self.simple_packet(block),
            _ => Next::Skipped(""),
        }
    }

    fn interface(&mut self, block: &[u8]) -> Next<'static> {
        if block.len() < 16 || self.interfaces.len() == INTERFACES {
            return Next::Skipped("an interface's description cannot be read");
        }
        let mut interface = Interface {
            link_type: self.u16(block, 8),
            snaplen: self.u32(block, 12),
            units: 1_000_000,
            offset: 0,
        };
        self.options(block, 16, |code, value| match (code, value) {
            (9, [resolution, ..]) => interface.units = units(*resolution),
            (14, value) if value.len() >= 8 => {
                let bytes = array(value, 0);
                interface.offset = if self.big_endian {
                    i64::from_be_bytes(bytes)
                } else {
                    i64::from_le_bytes(bytes)
                };
            }
            _ => {}
        });
        self.interfaces.push(interface);
        Next::Skipped("")
    }

    fn packet<'a>(&self, kind: u32, block: &'a [u8]) -> Next<'a> {
        if block.len() < PACKET {
            return Next::Skipped("a packet's block is too short");
        }
        let number = if kind == OLD_PACKET {
            u32::from(self.u16(block, 8))
        } else {
            self.u32(block, 8)
        };
        let Some(interface) = self.interfaces.get(number as usize) else {
            return Next::Skipped("a packet's interface is not described");
        };
        let field = |at| self.u32(block, at);
        let ticks = u64::from(field(12)) << 32 | u64::from(field(16));
        let (captured, original) = (field(20), field(24));
        let Some(bytes) = part(block, PACKET, captured) else {
            return Next::Skipped("a packet is longer than its block");
        };
        let mut direction = Direction::Unknown;
        let options = PACKET + (captured as usize).next_multiple_of(4);
        self.options(block, options, |code, value| {
            // epb_flags: the lowest two bits.
            if code == 2 && value.len() == 4 {
                direction = match self.u32(value, 0) & 3 {
                    1 => Direction::In,
                    2 => Direction::Out,
                    _ => Direction::Unknown,
                };
            }
        });
        Next::Packet(Record {
            time: Some(nanoseconds(ticks, interface)),
            link_type: interface.link_type,
            interface: number.saturating_add(1),
            original: original.max(captured),
            direction,
            overlong: captured > original,
            bytes,
        })
    }

    /// A packet of the first interface, without a time.
    fn simple_packet<'a>(&self, block: &'a [u8]) -> Next<'a> {
        let (Some(interface), true) = (self.interfaces.first(), block.len() >= 12) else {
            return Next::Skipped("a packet's interface is not described");
        };
        let original = self.u32(block, 8);
        let room = (block.len() - 12) as u32;
        let snaplen = match interface.snaplen {
            0 => u32::MAX,
            snaplen => snaplen,
        };
        let captured = original.min(snaplen).min(room);
        Next::Packet(Record {
            time: None,
            link_type: interface.link_type,
            interface: 1,
            original,
            direction: Direction::Unknown,
            overlong: false,
            bytes: part(block, 12, captured).unwrap_or_default(),
        })
    }

    /// Calls back with the code and value of each option from `at` on.
    fn options(&self, block: &[u8], at: usize, mut option: impl FnMut(u16, &[u8])) {
        let mut at = at;
        while at + 4 <= block.len() {
            let (code, length) = (self.u16(block, at), self.u16(block, at + 2));
            let Some(value) = part(block, at + 4, u32::from(length)) else {
                return;
            };
            if code == 0 {
                return;
            }
            option(code, value);
            at += 4 + usize::from(length).next_multiple_of(4);
        }
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = array(bytes, at);
        if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = array(bytes, at);
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

fn broken(why: &str) -> Next<'static> {
    Next::End(End::Broken(why.to_owned()))
}

fn part(bytes: &[u8], at: usize, length: u32) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length as usize)?)
}

/// `if_tsresol`: a negative power of ten, or of two with the top bit set.
fn units(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7f);
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.saturating_pow(exponent)
}

fn nanoseconds(ticks: u64, interface: &Interface) -> u64 {
    let since = match interface.units {
        NS_PER_S => ticks,
        1_000_000 => ticks.saturating_mul(1_000),
        units => {
            let ns = u128::from(ticks) * u128::from(NS_PER_S) / u128::from(units.max(1));
            u64::try_from(ns).unwrap_or(u64::MAX)
        }
    };
    let offset = interface.offset.saturating_mul(NS_PER_S as i64);
    since.saturating_add_signed(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_powers_of_ten_or_two() {
        for (resolution, expected) in [(6, 1_000_000), (9, NS_PER_S), (0, 1), (0x8a, 1024)] {
            assert_eq!(units(resolution), expected);
        }
        assert_eq!((units(255), units(127)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn times_are_nanoseconds_of_any_resolution() {
        let at = |ticks, units, offset| {
            let interface = Interface {
                link_type: 1,
                snaplen: 0,
                units,
                offset,
            };
            nanoseconds(ticks, &interface)
        };
        assert_eq!(at(1_500_000, 1_000_000, 0), 1_500_000_000);
        assert_eq!(at(1_500_000_000, NS_PER_S, 2), 3_500_000_000);
        assert_eq!(at(1536, 1024, 0), 1_500_000_000);
        assert_eq!(at(1, 1, -2), 0);
        assert_eq!(at(u64::MAX, 1, i64::MAX), u64::MAX);
    }
}
