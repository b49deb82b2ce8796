//! A look at backends in the namespace that holds them.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Namespace, Pod, conntrack,
    links::Held,
    netlink::Failed,
    redirects::Redirects,
    sockets::{Sock, Sockets, listeners},
};

/// A question, and when its answer is due.
#[derive(Clone, Debug)]
pub struct Ask {
    /// How far back counters are compared.
    pub window: Duration,
    /// When to stop.
    pub deadline: Instant,
    /// Backends whose connections are looked at. The kernel goes through the
    /// sockets of all namespaces for each: milliseconds where there are many.
    pub suspects: HashSet<SocketAddr>,
    /// Those of pods that refused SYNs: their own rules may have sent them on.
    pub refused: HashSet<SocketAddr>,
    /// When to stop doing so, that the others get their turn.
    pub suspects_until: Instant,
}

impl Ask {
    /// Looks at backends in the namespace that the calling thread is in; those
    /// that it does not hold are left out.
    pub fn look(
        &self,
        namespace: Namespace,
        held: &[Held],
        backends: &[SocketAddr],
        redirects: &mut Redirects,
        troubles: &mut Vec<String>,
    ) -> HashMap<SocketAddr, Pod> {
        let opened = Sockets::open().and_then(|mut sockets| {
            let listening = sockets.listening(self.deadline)?;
            Ok((sockets, listening))
        });
        let (mut sockets, listening) = match opened {
            Ok((sockets, listening)) => (Some(sockets), listening),
            Err(failed) => {
                troubles.extend(
                    backends
                        .first()
                        .map(|b| format!("sockets of {b}: {failed}")),
                );
                (None, Vec::new())
            }
        };
        let mut pods = HashMap::new();
        for backend in backends {
            let Some(held) = held.iter().find(|held| held.address == backend.ip()) else {
                continue;
            };
            let mut pod = Pod {
                namespace,
                rp_filter: rp_filter(held),
                syncookies: syncookies(),
                ..Pod::default()
            };
            if let Err(failed) = self.translation(&mut pod, *backend) {
                troubles.push(format!("conntrack at {backend}: {failed}"));
            }
            if pod.sent_on_to.is_none() && self.refused.contains(backend) {
                self.redirect(&mut pod, *backend, held, redirects, troubles);
            }
            if let Some(sockets) = &mut sockets
                && let Err(failed) = self.sockets(&mut pod, *backend, sockets, &listening)
            {
                troubles.push(format!("connections at {backend}: {failed}"));
            }
            pods.insert(*backend, pod);
        }
        pods
    }

    fn translation(&self, pod: &mut Pod, backend: SocketAddr) -> Result<(), Failed> {
        if self.suspects.contains(&backend)
            && let Ok(mut table) = conntrack::Table::open()
        {
            pod.sent_on_to = table.translation(backend, self.suspects_until)?;
        }
        Ok(())
    }

    /// conntrack has forgotten what was refused: rules tell.
    fn redirect(
        &self,
        pod: &mut Pod,
        backend: SocketAddr,
        held: &Held,
        redirects: &mut Redirects,
        troubles: &mut Vec<String>,
    ) {
        let mut absent = Vec::new();
        let until = self.suspects_until;
        if let Some(found) = redirects.look(backend, &held.interface, until, &mut absent) {
            (pod.sent_on_to, pod.sent_on_by) = (Some(found.to), Some(found.rule));
        }
        let told = absent.into_iter().map(|absent| absent.why);
        troubles.extend(told.map(|why| format!("rules at {backend}: {why}")));
    }

    fn sockets(
        &self,
        pod: &mut Pod,
        backend: SocketAddr,
        sockets: &mut Sockets,
        listening: &[Sock],
    ) -> Result<(), Failed> {
        let suspect = self.suspects.contains(&backend);
        // Who is to answer in the end, as long as it is here.
        let server = pod.sent_on_to.unwrap_or(backend);
        listeners(pod, listening, server.ip(), server.port());
        if !suspect {
            return Ok(());
        }
        if Instant::now() >= self.suspects_until {
            return Err(Failed::Late);
        }
        sockets.waiting(pod, server.port(), self.deadline)
    }
}

/// Serves IPv6 as well.
fn syncookies() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").ok()?;
    text.trim().parse().ok()
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
