//! Peers in plain Rust: servers in pods and clients at the load balancer.

pub mod client;
pub mod server;
pub mod thrift;

pub use client::Dial;
pub use server::{Behaviour, Server};
