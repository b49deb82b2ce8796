//! A look at backends in the namespace that holds them.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Namespace, Pod, links::Held, sockets::Sockets};

/// A question, and when its answer is due.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// How far back counters are compared.
    pub window: Duration,
    /// When to stop.
    pub deadline: Instant,
}

impl Ask {
    /// Looks at backends in the namespace that the calling thread is in; those
    /// that it does not hold are left out.
    pub fn look(
        &self,
        namespace: Namespace,
        held: &[Held],
        backends: &[SocketAddr],
        troubles: &mut Vec<String>,
    ) -> HashMap<SocketAddr, Pod> {
        let mut sockets = Sockets::open();
        let listening = match &mut sockets {
            Ok(sockets) => sockets.listening(self.deadline),
            Err(failed) => Err(*failed),
        };
        let mut pods = HashMap::new();
        for backend in backends {
            let Some(held) = held.iter().find(|held| held.address == backend.ip()) else {
                continue;
            };
            let mut pod = Pod {
                namespace,
                rp_filter: rp_filter(held),
                ..Pod::default()
            };
            let at = (backend.ip(), backend.port());
            let looked = match (&mut sockets, &listening) {
                (Ok(sockets), Ok(all)) => sockets.look(&mut pod, all, at, self.deadline),
                (Err(failed), _) => Err(*failed),
                (_, Err(failed)) => Err(*failed),
            };
            if let Err(failed) = looked {
                troubles.push(format!("sockets of {backend}: {failed}"));
            }
            pods.insert(*backend, pod);
        }
        pods
    }
}

/// The higher of the two applies (Documentation/networking/ip-sysctl.rst).
fn rp_filter(held: &Held) -> u8 {
    ["all", &held.interface]
        .into_iter()
        .filter_map(|name| {
            let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
            fs::read_to_string(path).ok()?.trim().parse().ok()
        })
        .max()
        .filter(|_| held.address.is_ipv4())
        .unwrap_or(0)
}
