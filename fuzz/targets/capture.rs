//! The readers of pcap and pcapng: they end, stay within the file, and how the
//! bytes arrive changes nothing.

use std::io::{Cursor, Read};

use tracer_replay::{Capture, End, Next};

/// Gives a few bytes at a time.
struct Slow(Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let few = out.len().min(self.1);
        self.0.read(&mut out[..few])
    }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Packet(Option<u64>, u16, u32, u32, Vec<u8>),
    Skipped(&'static str),
    End(End),
}

fn read(reader: Box<dyn Read>, size: u64) -> Vec<Seen> {
    let Ok(mut capture) = Capture::open(reader) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    loop {
        let before = capture.position();
        let seen = match capture.read() {
            Next::Packet(record) => {
                assert!(record.original as usize >= record.bytes.len());
                let bytes = record.bytes.to_vec();
                Seen::Packet(
                    record.time,
                    record.link_type,
                    record.interface,
                    record.original,
                    bytes,
                )
            }
            Next::Skipped(why) => Seen::Skipped(why),
            Next::End(end) => {
                all.push(Seen::End(end));
                return all;
            }
        };
        assert!(capture.position() > before && capture.position() <= size);
        all.push(seen);
    }
}

/// A whole file.
pub fn run(data: &[u8]) {
    let size = data.len() as u64;
    let at_once = read(Box::new(Cursor::new(data.to_vec())), size);
    let slowly = read(Box::new(Slow(Cursor::new(data.to_vec()), 0)), size);
    assert_eq!(at_once, slowly);
}
