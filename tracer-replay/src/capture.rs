//! One capture file, pcap or pcapng, told apart by its first bytes.

use std::io::Read;

use crate::{
    pcap::Pcap,
    pcapng::{self, PcapNg},
    window::Window,
};

/// Which way a packet went, seen from the host that captured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    In,
    /// It left.
    Out,
    /// The capture does not say.
    Unknown,
}

/// A packet as it stands in a file.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Nanoseconds since the Unix epoch; `None`: the file has none.
    pub time: Option<u64>,
    /// Link-layer header type (the registry of tcpdump.org).
    pub link_type: u16,
    /// Number of the interface in the file plus one.
    pub interface: u32,
    /// Length on the wire in bytes.
    pub original: u32,
    /// Which way it went.
    pub direction: Direction,
    /// The file says that more bytes were captured than the packet had.
    pub overlong: bool,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last record.
    Whole,
    /// Within a record.
    Cut,
    /// A record cannot be: the reason.
    Broken(String),
}

/// What comes next in a file.
#[derive(Debug)]
pub enum Next<'a> {
    /// A packet.
    Packet(Record<'a>),
    /// Something that holds none, or none that can be used: the reason.
    Skipped(&'static str),
    /// Nothing.
    End(End),
}

/// A capture file being read.
pub struct Capture {
    window: Window,
    format: Format,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

impl Capture {
    /// Reads the file's header.
    ///
    /// # Errors
    /// When it is no capture, as a sentence.
    pub fn open(reader: Box<dyn Read>) -> Result<Self, String> {
        let mut window = Window::new(reader);
        if !window.fill(4) {
            let found = window.bytes().len();
            return Err(match window.take_error() {
                Some(e) => e.to_string(),
                None if found == 0 => "it is empty".to_owned(),
                None => "it is too short for a capture".to_owned(),
            });
        }
        let format = if window.bytes().starts_with(&pcapng::MAGIC) {
            Format::PcapNg(PcapNg::new())
        } else {
            Format::Pcap(Pcap::open(&mut window)?)
        };
        Ok(Self { window, format })
    }

    /// The next packet.
    pub fn read(&mut self) -> Next<'_> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.window),
            Format::PcapNg(pcapng) => pcapng.next(&mut self.window),
        }
    }

    /// How far it is read, in bytes.
    pub fn position(&self) -> u64 {
        self.window.position()
    }

    /// Why reading ended, should that have been an error of the stream.
    pub fn take_error(&mut self) -> Option<std::io::Error> {
        self.window.take_error()
    }
}

/// Bytes `at..at + N`; zeros past the end, which callers have excluded.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found.copied().unwrap_or([0; N])
}
