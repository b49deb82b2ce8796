//! The pcap file format (draft-ietf-opsawg-pcap).

use super::{
    capture::{Direction, End, Next, Record, array},
    window::{LONGEST, Window},
};

const HEADER: usize = 24;
/// The most that libpcap takes of a packet (MAXIMUM_SNAPLEN).
const SNAPLEN: u32 = 262_144;
const NS_PER_S: u64 = 1_000_000_000;

/// The header of a file.
pub(crate) struct Pcap {
    big_endian: bool,
    /// Nanoseconds per unit of the second's fraction.
    unit: u64,
    /// Bytes before a packet.
    before: usize,
    link_type: u16,
    /// The longest packet that can be in it.
    longest: u32,
}

impl Pcap {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is none, as a sentence.
    pub(crate) fn open(window: &mut Window) -> Result<Self, String> {
        const NO_CAPTURE: &str = "it is neither pcap nor pcapng (nor gzip of one)";
        let magic: [u8; 4] = array(window.bytes(), 0);
        let (big_endian, unit, before) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1_000, 16),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1_000, 16),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1, 16),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1, 16),
            // Kuznetzov's, of old Linux tools: 8 bytes more per packet.
            [0x34, 0xcd, 0xb2, 0xa1] => (false, 1_000, 24),
            [0xa1, 0xb2, 0xcd, 0x34] => (true, 1_000, 24),
            _ => return Err(NO_CAPTURE.to_owned()),
        };
        if !window.fill(HEADER) {
            return Err("it is cut short within its header".to_owned());
        }
        let snaplen = word(big_endian, array(window.bytes(), 16));
        let network = word(big_endian, array(window.bytes(), 20));
        window.pass(HEADER);
        Ok(Self {
            big_endian,
            unit,
            before,
            // The upper half says how long a frame check sequence is.
            link_type: network as u16,
            // 0 stands for no limit, and old tools write anything.
            longest: snaplen.clamp(SNAPLEN, LONGEST as u32),
        })
    }

    /// The next packet.
    pub(crate) fn next<'a>(&self, window: &'a mut Window) -> Next<'a> {
        if !window.fill(self.before) {
            return Next::End(if window.bytes().is_empty() {
                End::Whole
            } else {
                End::Cut
            });
        }
        let head: [u8; 16] = array(window.bytes(), 0);
        let field = |at| word(self.big_endian, array(&head, at));
        let (seconds, fraction) = (u64::from(field(0)), u64::from(field(4)));
        let (captured, original) = (field(8), field(12));
        let size = (captured as usize).saturating_add(self.before);
        if captured > self.longest || size > LONGEST {
            return Next::End(End::Broken(format!(
                "a packet of {captured} bytes cannot be"
            )));
        }
        if !window.fill(size) {
            return Next::End(End::Cut);
        }
        let bytes = window.take(size).get(self.before..).unwrap_or_default();
        Next::Packet(Record {
            time: Some(seconds * NS_PER_S + fraction * self.unit),
            link_type: self.link_type,
            interface: 1,
            original: original.max(captured),
            direction: Direction::Unknown,
            overlong: captured > original,
            bytes,
        })
    }
}

fn word(big_endian: bool, bytes: [u8; 4]) -> u32 {
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}
