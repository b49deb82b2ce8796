//! The daemon's counts from captures: reads pcap and pcapng, and does with each
//! packet what the kernel's wire tap does. No clock, no IO but the reader that
//! it is given; memory is bounded by flows, not by the size of a capture.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod capture;
mod clock;
mod duplicates;
mod link;
mod pcap;
mod pcapng;
mod player;
mod table;
mod window;

pub use capture::{Capture, Direction, End, Next, Record};
pub use clock::Clock;
pub use player::{Player, Seen};
pub use table::{FLOWS, Failures, Table};
