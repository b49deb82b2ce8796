//! The handshake machine against hand-written exchanges and random segments.

mod connections;
mod failures;
mod handshakes;
mod healthy;
mod lab;
mod properties;
