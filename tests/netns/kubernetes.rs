//! Real kube-apiserver, kube-proxy, etcd and kubectl: names, outcomes and verdicts follow what
//! becomes of a Service, and counts go on whatever becomes of the API.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use serde_json::Value;
use testbed::{
    Metrics, Policy, Proc, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    kube_proxy::Recorded,
    kubernetes::{Kubernetes, NOBODY, NODE, TRACER, objects},
    metrics::Labels,
    peer::{Behaviour, Dial, Server, thrift::Message},
    process::poll_until,
};

/// The hooks see the sockets of every namespace: this port is this test's.
const PORT: u16 = 31720;
const OTHER: u16 = 31721;
/// Until a change has come from the API through kube-proxy or tracer.
const LIMIT: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(700);
/// An ICMP error that arrives inside connect(2) is heard with the second SYN.
const PATIENCE: Duration = Duration::from_millis(2500);
const HANDSHAKES: &str = "tracer_handshakes_total";
const SYNCED: &str = "tracer_kubernetes_synced";

/// A node with two pods that serve, and the API.
struct Bed<'a> {
    topology: &'a Topology,
    kubernetes: Kubernetes<'a>,
    _servers: Vec<Server>,
    _pods: Vec<Proc>,
}

fn pod(i: usize) -> SocketAddr {
    SocketAddr::new(pod_v4(i).into(), 9090)
}

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([10, 244, 9, 9], 9090))
}

impl<'a> Bed<'a> {
    fn new(topology: &'a Topology) -> Result<Self> {
        let pods = topology.pods.iter();
        let servers = pods.clone().enumerate();
        let servers = servers.map(|(i, ns)| Server::start(ns, pod(i), Behaviour::Echo));
        let servers = servers.collect::<Result<_>>()?;
        let bed = Self {
            _servers: servers,
            _pods: pods
                .map(|ns| ns.start(&["sleep", "600"]))
                .collect::<Result<_>>()?,
            kubernetes: Kubernetes::start(&topology.node, NODE_V4)?,
            topology,
        };
        bed.kubernetes.apply(&objects::namespace())?;
        bed.kubernetes.apply(&access()?)?;
        Ok(bed)
    }

    fn trace(&self, user: &str) -> Result<Tracer<'a>> {
        let file = self.kubernetes.kubeconfig(user);
        let ports = format!("{PORT}-{OTHER}");
        let options = [
            "--kubeconfig",
            &file.to_string_lossy(),
            "--node-ports",
            &ports,
            "--handshake-timeout",
            "1s",
            "--idle-after",
            "1s",
        ];
        Tracer::start(&self.topology.node, &options)
    }

    /// A Service with both pods.
    fn publish(&self, name: &str, port: u16) -> Result<()> {
        let api = &self.kubernetes;
        api.apply(&objects::service(name, port, Policy::Cluster))?;
        api.apply(&objects::endpoints(name, NODE, &[pod(0), pod(1)]))
    }

    fn withdraw(&self, name: &str) -> Result<()> {
        self.kubernetes.delete(&format!("service/{name}"))?;
        self.kubernetes.delete(&format!("endpointslice/{name}"))
    }

    /// Waits until kube-proxy's rules for [`PORT`] are those of the Service, all tables of them.
    /// (A dial would not do: its second SYN may find other rules than its first.)
    fn ruled(&self, service: &str, end: End) -> Result<()> {
        let (name, port) = (full_name(service), format!("--dport {PORT} "));
        let mut rules = String::new();
        let followed = poll_until(LIMIT, "kube-proxy does not follow", || {
            rules = self.topology.node.run(&["iptables-save"])?;
            let has = |words: &[&str]| {
                let mut lines = rules.lines();
                lines.any(|line| words.iter().all(|word| line.contains(word)))
            };
            let rejects = has(&[&name, &port, "REJECT"]);
            let drops = has(&[&name, "has no local endpoints"]);
            let target = format!("--to-destination {}", pod(0));
            let forwards = has(&[&name, &target]) && has(&["KUBE-NODEPORTS", &name, &port]);
            Ok(match end {
                End::Answered => forwards && !rejects && !drops,
                End::Refused => rejects && !forwards,
                End::Held | End::Silent => drops && !rejects,
            }
            .then_some(()))
        });
        followed.with_context(|| format!("{end:?} at {name}:\n{rules}"))
    }

    /// A call, by a client of the load balancer.
    fn call(&self, port: u16) -> Result<End> {
        let to = SocketAddr::new(NODE_V4.into(), port);
        let dial = Dial::new(&self.topology.client, to).limit(PATIENCE);
        let mut stream = match dial.connect()? {
            Ok(stream) => stream,
            Err(Errno::ECONNREFUSED) => return Ok(End::Refused),
            Err(Errno::EINPROGRESS) => return Ok(End::Silent),
            Err(other) => bail!("a dial ended with {other}"),
        };
        stream.set_read_timeout(Some(SOON))?;
        let request = Message::call("ping").strict();
        stream.write_all(&request)?;
        let told = stream.read_exact(&mut vec![0; request.len()]);
        Ok(if told.is_ok() {
            End::Answered
        } else {
            End::Held
        })
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Answered,
    /// Connected, and nobody said anything.
    Held,
    /// By RST or ICMP.
    Refused,
    /// No answer to any SYN.
    Silent,
}

/// All calls so far, by their end.
#[derive(Debug, Default)]
struct Ends(BTreeMap<End, u64>);

impl Ends {
    /// One more call to [`PORT`].
    fn call(&mut self, bed: &Bed<'_>) -> Result<End> {
        let end = bed.call(PORT)?;
        *self.0.entry(end).or_default() += 1;
        Ok(end)
    }

    /// Waits until kube-proxy has rules by which calls end so, and makes three.
    fn until(&mut self, bed: &Bed<'_>, service: &str, wanted: End) -> Result<()> {
        bed.ruled(service, wanted)?;
        for _ in 0..3 {
            let end = self.call(bed)?;
            ensure!(end == wanted, "{end:?}, expected {wanted:?}: {self:?}");
        }
        Ok(())
    }

    fn of(&self, ends: &[End]) -> f64 {
        ends.iter().filter_map(|end| self.0.get(end)).sum::<u64>() as f64
    }

    /// The daemon has counted the same, in series whose labels have no name.
    fn agree(&self, tracer: &Tracer<'_>) -> Result<()> {
        let metrics = tracer.metrics_when(LIMIT, "still pending", |metrics| {
            metrics.sum("tracer_handshakes_pending", &[]) == 0.0
        })?;
        let sum = |outcomes: &[&str]| -> f64 {
            let sum = |outcome| metrics.sum(HANDSHAKES, &[("outcome", outcome)]);
            outcomes.iter().copied().map(sum).sum()
        };
        let counted = [
            sum(&["established"]),
            sum(&["refused", "unreachable"]),
            sum(&["timed_out"]),
        ];
        let made = [
            self.of(&[End::Answered, End::Held]),
            self.of(&[End::Refused]),
            self.of(&[End::Silent]),
        ];
        ensure!(counted == made, "counted {counted:?}, made {self:?}");
        for (labels, _) in metrics.series(HANDSHAKES, &[]) {
            let names: Vec<&str> = labels.keys().map(String::as_str).collect();
            ensure!(names == ["node_port", "outcome", "traffic"], "{names:?}");
        }
        Ok(())
    }
}

/// The objects of the shipped manifest, one after the other.
fn manifest() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifest/tracer.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let objects = text.split("\n---\n").map(str::to_owned);
    Ok(objects.filter(|object| object.contains("kind:")).collect())
}

/// Those that give tracer its rights.
fn access() -> Result<String> {
    let kinds = [
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
    ];
    let is_access = |object: &String| {
        let kind = object.lines().find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| kinds.contains(&kind.trim()))
    };
    let objects: Vec<String> = manifest()?.into_iter().filter(is_access).collect();
    ensure!(objects.len() == kinds.len(), "{objects:#?}");
    Ok(objects.join("\n---\n"))
}

/// The names that `/metrics` has for a port.
fn names(metrics: &Metrics, port: u16) -> BTreeSet<String> {
    let port = port.to_string();
    let labels = [("node_port", port.as_str())];
    let series = metrics.series("tracer_node_port_info", &labels);
    let name = |labels: &Labels| {
        let of = |key: &str| labels.get(key).map_or("", String::as_str);
        format!("{}/{}:{}", of("namespace"), of("service"), of("port_name"))
    };
    series.map(|(labels, _)| name(labels)).collect()
}

fn full_name(service: &str) -> String {
    format!("{}/{service}:thrift", objects::NAMESPACE)
}

/// Waits until a port has this name alone.
fn named(tracer: &Tracer<'_>, port: u16, service: &str) -> Result<Metrics> {
    let expected = BTreeSet::from([full_name(service)]);
    tracer.metrics_when(LIMIT, "the name does not follow", |metrics| {
        names(metrics, port) == expected
    })
}

fn synced(tracer: &Tracer<'_>, wanted: f64) -> Result<Metrics> {
    tracer.metrics_when(
        LIMIT,
        "tracer_kubernetes_synced does not follow",
        |metrics| metrics.get(SYNCED, &[]) == Some(wanted),
    )
}

/// Waits until `tracer explain` finds this at the port, under this name, in the last seconds: what
/// the port did before it was changed would count as evidence too.
fn explained(tracer: &Tracer<'_>, verdict: &str, service: &str) -> Result<()> {
    let mut last = Value::Null;
    let found = poll_until(LIMIT, "explain does not say so", || {
        let mut command = Command::new(Tracer::binary()?);
        command.args(["explain", "-o", "json", "--last", "10s", "--socket"]);
        let output = command.arg(tracer.socket()).output()?;
        last = serde_json::from_slice(&output.stdout)?;
        let findings = last["verdicts"].as_array().context("no verdicts")?;
        let found = findings.iter().any(|finding| {
            finding["verdict"] == verdict
                && finding["node_port"] == PORT
                && finding["service"] == full_name(service)
        });
        Ok(found.then_some(()))
    });
    found.with_context(|| format!("{verdict} of {service}: {:#}", last["verdicts"]))
}

#[test]
fn names_outcomes_and_verdicts_follow_a_service() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let bed = Bed::new(&topology)?;
    let api = &bed.kubernetes;
    bed.publish("users", PORT)?;
    let tracer = bed.trace(TRACER)?;
    let mut ends = Ends::default();
    synced(&tracer, 1.0)?;
    named(&tracer, PORT, "users")?;
    ends.until(&bed, "users", End::Answered)?;
    ends.agree(&tracer)?;

    // The same NodePort under another name.
    bed.withdraw("users")?;
    bed.publish("accounts", PORT)?;
    named(&tracer, PORT, "accounts")?;
    ends.until(&bed, "accounts", End::Answered)?;
    ends.agree(&tracer)?;

    api.delete("endpointslice/accounts")?;
    ends.until(&bed, "accounts", End::Refused)?;
    explained(&tracer, "no_endpoints", "accounts")?;
    api.apply(&objects::endpoints("accounts", NODE, &[pod(0), pod(1)]))?;
    ends.until(&bed, "accounts", End::Answered)?;
    ends.agree(&tracer)?;

    // Without a kubelet kube-proxy 1.20 drops nothing: its own listener answers.
    api.apply(&objects::service("accounts", PORT, Policy::Local))?;
    api.apply(&objects::endpoints("accounts", "node9", &[elsewhere()]))?;
    ends.until(&bed, "accounts", End::Held)?;
    Recorded::apply_kubelet(&topology.node)?;
    ends.until(&bed, "accounts", End::Silent)?;
    explained(&tracer, "no_local_endpoint", "accounts")?;
    api.apply(&objects::endpoints("accounts", NODE, &[pod(0)]))?;
    api.apply(&objects::service("accounts", PORT, Policy::Cluster))?;
    ends.until(&bed, "accounts", End::Answered)?;
    named(&tracer, PORT, "accounts")?;
    ends.agree(&tracer)
}

#[test]
fn counts_go_on_and_names_stay_without_the_api() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let mut bed = Bed::new(&topology)?;
    bed.publish("users", PORT)?;
    let tracer = bed.trace(TRACER)?;
    let mut ends = Ends::default();
    named(&tracer, PORT, "users")?;
    ends.until(&bed, "users", End::Answered)?;
    bed.kubernetes.stop_api();
    synced(&tracer, 0.0)?;
    for _ in 0..20 {
        ensure!(ends.call(&bed)? == End::Answered);
    }
    ends.agree(&tracer)?;
    named(&tracer, PORT, "users")?;
    bed.kubernetes.start_api()?;
    synced(&tracer, 1.0)?;
    bed.publish("late", OTHER)?;
    named(&tracer, OTHER, "late")?;
    named(&tracer, PORT, "users")?;
    ends.until(&bed, "users", End::Answered)?;
    ends.agree(&tracer)
}

#[test]
fn counts_go_on_without_rights() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let bed = Bed::new(&topology)?;
    bed.publish("users", PORT)?;
    let tracer = bed.trace(NOBODY)?;
    let mut ends = Ends::default();
    ends.until(&bed, "users", End::Answered)?;
    let metrics = synced(&tracer, 0.0)?;
    ensure!(names(&metrics, PORT).is_empty());
    ends.agree(&tracer)?;
    let grant = [
        "create",
        "clusterrolebinding",
        NOBODY,
        "--clusterrole=tracer",
    ];
    let user = format!("--user={NOBODY}");
    bed.kubernetes
        .kubectl(&[&grant[..], &[&user]].concat(), "")?;
    synced(&tracer, 1.0)?;
    named(&tracer, PORT, "users")?;
    ends.agree(&tracer)
}

#[test]
fn the_api_takes_the_manifest() -> Result<()> {
    let topology = Topology::builder().pods(2).build()?;
    let bed = Bed::new(&topology)?;
    let objects = manifest()?;
    ensure!(!objects.is_empty());
    for object in objects {
        let applied = bed
            .kubernetes
            .kubectl(&["apply", "--dry-run=server", "-f", "-"], &object);
        let said = applied.with_context(|| object.clone())?;
        ensure!(said.contains("(server dry run)"), "{said}");
    }
    Ok(())
}
