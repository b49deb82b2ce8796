//! The daemon's counts from captures: reads pcap and pcapng, and does with each
//! packet what the kernel's wire tap does. No clock, no IO but the reader that
//! it is given; memory is bounded by flows, not by the size of a capture.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod capture;
mod clock;
mod destinations;
mod duplicates;
mod encapsulation;
mod link;
mod pcap;
mod pcapng;
mod player;
mod seen;
mod table;
mod undecoded;
mod window;

pub use capture::{Capture, Direction, End, Next, Record};
pub use clock::Clock;
pub use destinations::Destinations;
pub use encapsulation::Encapsulation;
pub use player::Player;
pub use seen::Seen;
pub use table::{FLOWS, Failures, Table};
pub use undecoded::Undecoded;
