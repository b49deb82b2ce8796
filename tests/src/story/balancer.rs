//! The load balancer: what it does to each registered node, and what it counts of it.

use std::{
    net::TcpStream,
    panic::resume_unwind,
    thread::{ScopedJoinHandle, scope, sleep},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::{CHECKED, Counts, EVERY, PORTS, fault};
use crate::{
    Netns,
    cluster::{self, Cluster},
    peer::{Dial, thrift::Message},
};

/// Longer than it takes to hear the answer to the third SYN.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all nodes of the load balancer counted for one port of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Health checks that succeeded.
    pub checks: u64,
    /// Connections that were opened in advance.
    pub spares: u64,
    /// Calls answered.
    pub calls: u64,
    /// Connections that were refused: backend connection errors.
    pub errors: u64,
}

/// The load balancer's nodes, at work.
#[derive(Debug)]
pub struct Balancer<'a> {
    cluster: &'a Cluster,
    /// What it has counted so far.
    pub counts: Counts,
    spares: Vec<TcpStream>,
}

/// What one dial was for, and whether it succeeded.
enum Dialled {
    Check,
    Spare(TcpStream),
    Refused,
}

impl<'a> Balancer<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            counts: Counts::new(),
            spares: Vec::new(),
        }
    }

    /// Registers `nodes`: each load-balancer node opens a silent connection to each of their
    /// listeners that answers.
    pub fn register(&mut self, nodes: std::ops::Range<usize>) -> Result<()> {
        let ports: Vec<u16> = PORTS.filter(|port| fault(*port).is_none()).collect();
        self.each(nodes, &ports, |dial, _| dial.stream().map(Dialled::Spare))
    }

    /// A minute, compressed: every interval the health check on the first port and one more try at
    /// each dead listener, by each load-balancer node to each of `nodes`.
    pub fn minute(&mut self, nodes: usize, mut progress: impl FnMut()) -> Result<()> {
        let ports: Vec<u16> = [CHECKED].into_iter().chain(super::dead()).collect();
        for _ in 0..super::ROUNDS {
            let next = Instant::now() + EVERY;
            self.each(0..nodes, &ports, check_or_try)?;
            // A round that took longer is late, not left out.
            while Instant::now() < next {
                progress();
                sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// `calls` Thrift calls of clients to `port` on each of `nodes`, by the first load-balancer
    /// node.
    pub fn call(&mut self, nodes: usize, port: u16, calls: u64) -> Result<()> {
        let request = Message::call("ping").strict();
        for node in 0..nodes {
            let dial = dial(&self.cluster.balancers[0], node, port);
            for _ in 0..calls {
                dial.call(&request, &mut vec![0; request.len()])?;
            }
            self.counts.entry((node, port)).or_default().calls += calls;
        }
        Ok(())
    }

    /// Connections that it holds open.
    #[must_use]
    pub fn held(&self) -> usize {
        self.spares.len()
    }

    /// `work` for every load-balancer node, node and port, all at once.
    fn each(
        &mut self,
        nodes: std::ops::Range<usize>,
        ports: &[u16],
        work: impl Fn(&Dial<'_>, u16) -> Result<Dialled> + Sync,
    ) -> Result<()> {
        let cluster = self.cluster;
        let done = scope(|scope| {
            let mut threads = Vec::new();
            for balancer in &cluster.balancers {
                for node in nodes.clone() {
                    for port in ports.iter().copied() {
                        let work = &work;
                        let run = move || work(&dial(balancer, node, port), port);
                        threads.push(((node, port), scope.spawn(run)));
                    }
                }
            }
            let joined = threads
                .into_iter()
                .map(|(key, thread)| Ok((key, joined(thread)?)));
            joined.collect::<Result<Vec<_>>>()
        })?;
        for (key, dialled) in done {
            let counted = self.counts.entry(key).or_default();
            match dialled {
                Dialled::Check => counted.checks += 1,
                Dialled::Refused => counted.errors += 1,
                Dialled::Spare(stream) => {
                    counted.spares += 1;
                    self.spares.push(stream);
                }
            }
        }
        Ok(())
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

fn dial(balancer: &Netns, node: usize, port: u16) -> Dial<'_> {
    Dial::new(balancer, cluster::node(node, port)).limit(PATIENCE)
}

/// The health check at its port; elsewhere a connection in advance, which a dead listener refuses.
fn check_or_try(dial: &Dial<'_>, port: u16) -> Result<Dialled> {
    if port == CHECKED {
        return dial.connect_fin().map(|()| Dialled::Check);
    }
    match dial.connect()? {
        Ok(stream) => Ok(Dialled::Spare(stream)),
        Err(Errno::ECONNREFUSED) => Ok(Dialled::Refused),
        Err(other) => bail!("{dial:?} ended with {other}"),
    }
}
