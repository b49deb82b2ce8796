//! The node of a scenario, and what its load balancer can do.

use std::{
    any::Any,
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    KubeProxy, Mode, Netns, Proc, RawClient, ServicePort, Topology, Tracer,
    addr::{
        FAR_POD_V4, FAR_POD_V6, NODE_V4, NODE_V6, client_v4, client_v6, phantom_v4, phantom_v6,
        pod_v4, pod_v6,
    },
    peer::{Behaviour, Dial, Server, thrift::Message},
    raw::Answer,
    tun::TunPeer,
};

use super::scenario::Scenario;

/// The watched ports. The hooks see the sockets of every namespace: no other
/// test may use them. Each scenario has an even one for its fault; the next is
/// that of a healthy Service beside it.
pub const PORTS: &str = "31400-31699,31820-31849,31860-31899,31920-31999";

/// A load balancer that gives up soon: one SYN an attempt.
pub const SOON: Duration = Duration::from_millis(700);
/// As long as it takes to read ICMP's answer, which comes inside connect(2),
/// from the answer to the retransmitted SYN.
pub const SECOND_SYN: Duration = Duration::from_secs(3);

/// IP version of all traffic of a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// The node, its Services, and what is held until the end.
pub struct Scene {
    pub bed: Topology,
    pub port: u16,
    pub family: Family,
    pub rules: Mode,
    servers: Mutex<Vec<Server>>,
    held: Mutex<Vec<Box<dyn Any + Send>>>,
    _pods: Vec<Proc>,
    _nowhere: TunPeer,
}

impl Scene {
    pub fn new(scenario: &Scenario) -> Result<Self> {
        let bed = (scenario.topology)().build()?;
        // A pod has a process of its own, by which its namespace is found.
        let far = bed.beyond.iter().map(|beyond| &beyond.pod);
        let pods = bed.pods.iter().chain(far);
        let pods = pods.map(|pod| pod.start(&["sleep", "600"]));
        // Whoever dials from nowhere: the client's kernel says nothing for it,
        // nor drops what comes back.
        bed.client.sysctls(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ])?;
        let nowhere = TunPeer::silent(&bed.client, &["172.16.0.0/12", "fd00:60:1::/64"])?;
        let scene = Self {
            _nowhere: nowhere,
            _pods: pods.collect::<Result<_>>()?,
            bed,
            port: scenario.port,
            family: scenario.family,
            rules: scenario.rules,
            servers: Mutex::default(),
            held: Mutex::default(),
        };
        (scenario.servers)(&scene)?;
        scene.serve(1, 9090, Behaviour::Echo)?;
        scene.apply((scenario.services)(&scene))?;
        Ok(scene)
    }

    /// Starts the daemon on the node.
    pub fn trace(&self, options: &[&str]) -> Result<Tracer<'_>> {
        let options = [&["--node-ports", PORTS][..], options].concat();
        Tracer::start(&self.bed.node, &options)
    }

    /// Writes the node's rules anew: these Service ports and the healthy one.
    pub fn apply(&self, services: Vec<ServicePort>) -> Result<()> {
        let healthy = self.service_at(self.port + 1).backend(self.pod(1, 9090));
        let services = services.into_iter().chain([healthy]);
        let rules = services.fold(KubeProxy::new(self.rules), KubeProxy::port);
        rules.apply(&self.bed.node)
    }

    /// The Service port of the scenario, without endpoints.
    pub fn service(&self) -> ServicePort {
        self.service_at(self.port)
    }

    pub fn service_at(&self, port: u16) -> ServicePort {
        ServicePort::new(&format!("default/s{port}:thrift"), port)
    }

    /// `port` at an address of the scenario's family.
    fn at(&self, v4: impl Into<IpAddr>, v6: impl Into<IpAddr>, port: u16) -> SocketAddr {
        let ip = match self.family {
            Family::V4 => v4.into(),
            Family::V6 => v6.into(),
        };
        SocketAddr::new(ip, port)
    }

    /// The load balancer's address, port 0.
    pub fn client(&self) -> SocketAddr {
        self.at(client_v4(0), client_v6(0), 0)
    }

    pub fn node_port(&self, port: u16) -> SocketAddr {
        self.at(NODE_V4, NODE_V6, port)
    }

    pub fn pod(&self, i: usize, port: u16) -> SocketAddr {
        self.at(pod_v4(i), pod_v6(i), port)
    }

    /// The pod of the second node.
    pub fn far_pod(&self, port: u16) -> SocketAddr {
        self.at(FAR_POD_V4, FAR_POD_V6, port)
    }

    /// A source that no kernel owns.
    pub fn phantom(&self, i: u32, port: u16) -> SocketAddr {
        self.at(phantom_v4(i), phantom_v6(i), port)
    }

    /// Starts a server in a pod.
    pub fn serve(&self, pod: usize, port: u16, behaviour: Behaviour) -> Result<()> {
        self.serve_with(pod, port, behaviour, 1024)
    }

    /// Starts a server whose accept queue takes `backlog` and one more.
    pub fn serve_with(
        &self,
        pod: usize,
        port: u16,
        behaviour: Behaviour,
        backlog: i32,
    ) -> Result<()> {
        let at = self.pod(pod, port);
        let server = Server::start_with(&self.bed.pods[pod], at, behaviour, backlog, 0)?;
        locked(&self.servers).push(server);
        Ok(())
    }

    /// Starts a server elsewhere.
    pub fn serve_in(&self, ns: &Netns, at: SocketAddr, behaviour: Behaviour) -> Result<()> {
        let server = Server::start(ns, at, behaviour)?;
        locked(&self.servers).push(server);
        Ok(())
    }

    /// Stops the server that was started first.
    pub fn stop_first_server(&self) {
        drop(locked(&self.servers).remove(0));
    }

    /// Holds a value (a connection, a rule) until the end of the scenario.
    pub fn keep(&self, value: impl Any + Send) {
        locked(&self.held).push(Box::new(value));
    }

    /// Lets go of everything held.
    pub fn release(&self) {
        locked(&self.held).clear();
    }

    /// A rule of the node's, by one of the programs that are called iptables.
    pub fn iptables(&self, program: &str, rule: &str) -> Result<()> {
        let argv = [program, "-w", "30"].into_iter().chain(rule.split(' '));
        self.bed.node.run(&argv.collect::<Vec<_>>()).map(drop)
    }

    /// A dial to the faulty port that gives up after `limit`.
    pub fn dial(&self, limit: Duration) -> Dial<'_> {
        Dial::new(&self.bed.client, self.node_port(self.port)).limit(limit)
    }

    /// `count` dials at once.
    pub fn dials(&self, count: usize, limit: Duration) -> Result<Vec<Result<TcpStream, Errno>>> {
        let dial = self.dial(limit);
        at_once(count, |_| dial.connect())
    }

    /// `count` dials at once, each of which must end with `errno`
    /// (`EINPROGRESS`: no answer in time).
    pub fn dials_end(&self, count: usize, limit: Duration, errno: Errno) -> Result<()> {
        for ended in self.dials(count, limit)? {
            let ended = ended.err();
            ensure!(ended == Some(errno), "a dial ended with {ended:?}");
        }
        Ok(())
    }

    /// `count` connections, opened one after the other and held.
    pub fn connections(&self, count: usize) -> Result<Vec<TcpStream>> {
        (0..count).map(|_| self.dial(SOON).stream()).collect()
    }

    /// `count` Thrift calls, one after the other, each on a connection of its
    /// own: `what` they come to within `limit`.
    pub fn calls(&self, count: usize, limit: Duration, what: Reply) -> Result<()> {
        let dial = self.dial(limit);
        let ended = at_once(count, |_| call(&dial))?;
        for (reply, stream) in ended {
            self.keep(stream);
            ensure!(reply == what, "a call came to {reply:?}");
        }
        Ok(())
    }

    /// Everything that a healthy client and a load balancer do, at the healthy port.
    pub fn healthy_traffic(&self) -> Result<()> {
        let to = self.node_port(self.port + 1);
        let dial = Dial::new(&self.bed.client, to);
        let (reply, _) = call(&dial)?;
        ensure!(reply == Reply::Whole, "healthy port: {reply:?}");
        dial.connect_fin()?;
        dial.connect_rst()?;
        let raw = RawClient::open(&self.bed.client)?;
        let answer = raw.half_open(self.phantom(9, 4000), to, 7)?;
        ensure!(
            matches!(answer, Answer::SynAck(_)),
            "healthy port: {answer:?}"
        );
        Ok(())
    }

    /// A counter of a namespace; namespaces are new, so they begin at 0.
    pub fn counted(&self, ns: &Netns, name: &str) -> Result<u64> {
        let groups = ["Ip", "Icmp", "Tcp", "TcpExt", "IpExt"];
        groups.iter().map(|group| ns.counter(group, name)).sum()
    }

    /// Fails unless the counter has risen to at least `least`.
    pub fn took(&self, ns: &Netns, name: &str, least: u64) -> Result<()> {
        let value = self.counted(ns, name)?;
        ensure!(value >= least, "{name} of {} is {value}", ns.name());
        Ok(())
    }

    /// Fails unless the counter stands at 0.
    pub fn took_no(&self, ns: &Netns, name: &str) -> Result<()> {
        let value = self.counted(ns, name)?;
        ensure!(value == 0, "{name} of {} is {value}", ns.name());
        Ok(())
    }

    /// What the namespaces' counters say, for messages.
    pub fn facts(&self) -> String {
        super::facts::of(&self.bed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// All of it.
    Whole,
    /// Nothing, and the connection is still open.
    None,
    /// The server closed instead.
    Closed,
    /// RST instead.
    Reset,
}

/// Connects, sends a call, waits for as many bytes.
pub fn call(dial: &Dial<'_>) -> Result<(Reply, TcpStream)> {
    use std::io::{ErrorKind, Read as _, Write as _};
    let mut stream = dial.stream()?;
    let request = Message::call("getUser").strict();
    let written = stream.write_all(&request);
    let mut reply = vec![0; request.len()];
    let told = written.and_then(|()| stream.read_exact(&mut reply));
    let reply = match told.map_err(|e| e.kind()) {
        Ok(()) => Reply::Whole,
        Err(ErrorKind::WouldBlock) => Reply::None,
        Err(ErrorKind::UnexpectedEof) => Reply::Closed,
        Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Reply::Reset,
        Err(other) => anyhow::bail!("a call: {other}"),
    };
    Ok((reply, stream))
}

/// Runs `work` in `count` threads.
pub fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|i| {
                let work = &work;
                scope.spawn(move || work(i))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}
