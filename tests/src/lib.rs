//! The test bed: network namespaces joined by veth (load balancer, node,
//! pods), the rules kube-proxy writes, peers of every kind, and guards around
//! the real programs that the tests, the demo and the bench run.
//!
//! All traffic stays inside namespaces made here. Whatever is made here is
//! removed when its value is dropped, when a panic unwinds, and on SIGINT,
//! SIGTERM or SIGHUP; processes also die with the thread that keeps them.
//!
//! Everything but [`peers`] needs only iproute2, nft and iptables, so it runs
//! in the VM guests of `cargo xtask test --vm` too.

pub mod addr;
pub mod capture;
pub mod cleanup;
pub mod cluster;
pub mod flood;
pub mod http;
pub mod kernel;
pub mod keys;
pub mod kube_proxy;
pub mod kubernetes;
pub mod leftovers;
pub mod maps;
pub mod metrics;
pub mod netns;
pub mod oracle;
pub mod peer;
pub mod peers;
pub mod process;
pub mod raw;
pub mod rules;
pub mod seen;
pub mod segment;
pub mod story;
pub mod topology;
pub mod tracer;
pub mod tun;
pub mod xdp;

pub use capture::Capture;
pub use cleanup::{install_signal_cleanup, remove_everything};
pub use kube_proxy::{KubeProxy, Mode, Policy, ServicePort};
pub use metrics::Metrics;
pub use netns::Netns;
pub use process::Proc;
pub use raw::RawClient;
pub use topology::{Builder, Topology};
pub use tracer::Tracer;
