//! Pure core of `tracer`: no IO, no clock, no allocation. The kernel programs,
//! the daemon, replay and the tests share what is here.
#![no_std]
#![deny(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod config;
pub mod counters;
pub mod failure;
pub mod first_bytes;
pub mod flow;
pub mod latency;
pub mod layout;
pub mod machine;
pub mod packet;
pub mod words;

#[cfg(feature = "user")]
mod pod;
