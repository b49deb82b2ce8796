//! The handshake machine against hand-written exchanges and random segments.

mod connections;
mod failures;
mod handshakes;
mod lab;
mod properties;
