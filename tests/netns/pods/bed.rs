//! A node whose pods come and go, and a client that calls them all the time.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use testbed::{
    KubeProxy, Mode, Netns, Proc, ServicePort, Topology, Tracer,
    addr::{FAR_POD_V4, NODE_V4, pod_v4},
    peer::{Behaviour, Dial, Server},
    topology::PodLink,
};

use super::api::{Api, Listed};

/// Port of the pods.
pub const TARGET: u16 = 9090;
/// A client that gives up soon: one SYN a call.
pub const SOON: Duration = Duration::from_millis(700);
/// 60 calls a second.
const PACE: Duration = Duration::from_micros(16_667);

/// A pod: its namespace, and the process in it.
pub struct Pod {
    pub name: String,
    pub address: IpAddr,
    veth: String,
    ns: Netns,
    server: Option<Server>,
    _process: Proc,
}

/// The node and its API.
pub struct Node {
    pub topology: Topology,
    api: Api,
    port: u16,
    link: PodLink,
}

/// The pods that are there.
pub struct Bed<'a> {
    node: &'a Node,
    pods: Vec<Pod>,
    listed: Vec<Listed>,
    made: usize,
}

impl Node {
    pub fn new(port: u16, link: PodLink) -> Result<Self> {
        let topology = Topology::builder().pods(0).pod_link(link).build()?;
        if link == PodLink::Bridge {
            // A bridge without an address of its own takes the lowest of its ports', and
            // each time that it changes the kernel forgets all neighbours.
            topology
                .node
                .ip("link set cbr0 address 02:00:0a:f4:00:01\n")?;
        }
        Ok(Self {
            api: Api::start(&topology.node, port)?,
            topology,
            port,
            link,
        })
    }

    /// So many pods, and rules for them.
    pub fn running(&self, pods: usize) -> Result<Bed<'_>> {
        let mut bed = Bed {
            node: self,
            pods: Vec::new(),
            listed: Vec::new(),
            made: 0,
        };
        for i in 0..pods {
            bed.start_pod(i)?;
        }
        bed.sync()?;
        Ok(bed)
    }

    /// The daemon, which knows the API.
    pub fn trace(&self, timeout: &str) -> Result<Tracer<'_>> {
        let (ports, kubeconfig) = (self.port.to_string(), self.api.kubeconfig()?);
        Tracer::start(
            &self.topology.node,
            &[
                "--node-ports",
                &ports,
                "--kubeconfig",
                &kubeconfig,
                "--handshake-timeout",
                timeout,
                "--idle-after",
                "1s",
            ],
        )
    }

    /// Calls the port while `work` goes on, each for `limit` at most.
    pub fn calling<T>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Calls)> {
        calling(&self.topology.client, self.port, limit, work)
    }
}

impl Bed<'_> {
    /// Makes a pod with the address of number `i`, which listens, and lists it.
    pub fn start_pod(&mut self, i: usize) -> Result<()> {
        let (number, address) = (self.made, pod_v4(i));
        self.made += 1;
        let ns = Netns::new(&format!("pod{number}"))?;
        let veth = format!("veth{number}");
        let (node, name) = (&self.node.topology.node, ns.name());
        let link =
            format!("link add {veth} type veth peer name eth0 netns {name}\nlink set {veth} up\n");
        let (bits, attach) = match self.node.link {
            PodLink::Bridge => (24, format!("link set {veth} master cbr0\n")),
            PodLink::Veth => (
                32,
                format!("addr add 10.244.0.1/32 dev {veth}\nroute add {address}/32 dev {veth}\n"),
            ),
        };
        node.ip(&(link + &attach))?;
        ns.ip(&format!(
            "link set eth0 up\naddr add {address}/{bits} dev eth0\n\
             route add default via 10.244.0.1 dev eth0 onlink\n"
        ))?;
        let server = Server::start(&ns, (address, TARGET), Behaviour::Echo)?;
        let pod = Pod {
            name: format!("users-{number}"),
            address: address.into(),
            veth,
            _process: ns.start(&["sleep", "600"])?,
            server: Some(server),
            ns,
        };
        self.listed.push(Listed {
            name: pod.name.clone(),
            address: pod.address,
            node: "node0",
            ready: true,
            terminating: false,
        });
        self.pods.push(pod);
        self.node.api.list(&self.listed);
        Ok(())
    }

    /// Another node has a ready pod; to be listed after the last [`Bed::sync`], as with
    /// externalTrafficPolicy Local.
    pub fn list_elsewhere(&mut self) {
        self.listed.push(Listed {
            name: "users-elsewhere".to_owned(),
            address: FAR_POD_V4.into(),
            node: "node1",
            ready: true,
            terminating: false,
        });
        self.node.api.list(&self.listed);
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Listed)) -> Result<()> {
        let mut all = self.listed.iter_mut();
        change(all.find(|l| l.name == name).context("no such pod")?);
        self.node.api.list(&self.listed);
        Ok(())
    }

    fn pod(&mut self, name: &str) -> Result<&mut Pod> {
        let mut all = self.pods.iter_mut();
        all.find(|pod| pod.name == name).context("no such pod")
    }

    /// `kubectl delete pod`: it is terminating, and its server stops at SIGTERM.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        self.change(name, |listed| {
            (listed.ready, listed.terminating) = (false, true);
        })?;
        self.pod(name)?.server = None;
        Ok(())
    }

    /// Its sandbox ends: interface and namespace go.
    pub fn tear_down(&mut self, name: &str) -> Result<()> {
        let place = self.pods.iter().position(|pod| pod.name == name);
        let pod = self.pods.remove(place.context("no such pod")?);
        let node = &self.node.topology.node;
        node.ip(&format!("link del {}\n", pod.veth))
    }

    /// The API does not know it any more.
    pub fn forget(&mut self, name: &str) {
        self.listed.retain(|listed| listed.name != name);
        self.node.api.list(&self.listed);
    }

    /// Its container dies: nothing listens, and it is still listed as ready.
    pub fn close(&mut self, name: &str) -> Result<()> {
        self.pod(name)?.server = None;
        Ok(())
    }

    /// Its readiness probe fails.
    pub fn unlist(&mut self, name: &str) -> Result<()> {
        self.change(name, |listed| listed.ready = false)
    }

    /// Its container is back, and ready.
    pub fn open(&mut self, name: &str) -> Result<()> {
        let pod = self.pod(name)?;
        let at = SocketAddr::new(pod.address, TARGET);
        pod.server = Some(Server::start(&pod.ns, at, Behaviour::Echo)?);
        self.change(name, |listed| listed.ready = true)
    }

    /// kube-proxy writes its rules for what is ready.
    pub fn sync(&self) -> Result<()> {
        let service = ServicePort::new("thrift/users:thrift", self.node.port);
        let ready = self.listed.iter().filter(|listed| listed.ready);
        let service = ready.fold(service, |service, listed| {
            service.backend(SocketAddr::new(listed.address, TARGET))
        });
        let rules = KubeProxy::new(Mode::IptablesNft).port(service);
        rules.apply(&self.node.topology.node)
    }

    /// A pod goes as in a rollout: it stops, its sandbox goes, the API forgets it, and
    /// kube-proxy follows, a step each `step`.
    pub fn retire(&mut self, name: &str, step: Duration) -> Result<()> {
        self.delete(name)?;
        std::thread::sleep(step);
        self.tear_down(name)?;
        std::thread::sleep(step);
        self.forget(name);
        std::thread::sleep(step);
        self.sync()
    }
}

/// What calls came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub answered: usize,
    pub refused: usize,
    pub silent: usize,
}

/// Calls the port 60 times a second while `work` goes on, each for `limit` at most.
fn calling<T>(
    client: &Netns,
    port: u16,
    limit: Duration,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Calls)> {
    let (end, calls) = (AtomicBool::new(false), Mutex::new(Calls::default()));
    let call = || {
        let dial = Dial::new(client, (NODE_V4, port)).limit(limit);
        let came_to = dial.connect();
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        match came_to {
            Ok(Ok(mut stream)) => {
                calls.answered += 1;
                drop(calls);
                // What becomes of a connection is another matter.
                let _ = stream.write_all(b"call");
                let _ = stream.read_exact(&mut [0; 4]);
            }
            Ok(Err(Errno::ECONNREFUSED)) => calls.refused += 1,
            _ => calls.silent += 1,
        }
    };
    let worked = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = Instant::now();
            while !end.load(Ordering::Relaxed) {
                scope.spawn(call);
                next += PACE;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let worked = work();
        end.store(true, Ordering::Relaxed);
        worked
    })?;
    let calls = *calls.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((worked, calls))
}
