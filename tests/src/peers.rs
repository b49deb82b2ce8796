//! Real programs as peers: HAProxy, Apache Thrift, Prometheus. Each says which
//! package brings it when it is missing. (Not in VM guests.)

pub mod haproxy;
pub mod prometheus;
pub mod thrift;

pub use haproxy::Haproxy;
pub use prometheus::Prometheus;
