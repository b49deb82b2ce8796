//! Pure core of `tracer`: no IO, no clock, no allocation.
#![no_std]
#![deny(unsafe_code)]
#![warn(clippy::indexing_slicing)]
