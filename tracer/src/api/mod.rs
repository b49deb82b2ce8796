//! The API on the unix socket.

pub mod client;
