//! The handshake machine against hand-written exchanges and random segments.

mod connections;
mod failed_connections;
mod failures;
mod forged;
mod handshakes;
mod healthy;
mod interfaces;
mod lab;
mod properties;
mod unusual;
