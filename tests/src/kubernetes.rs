//! Real Kubernetes 1.20 in a node's namespace: etcd, kube-apiserver and kube-proxy, no kubelet and
//! no controllers. Endpoints are written by hand.

mod keys;
pub mod objects;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    cleanup::ScratchDir,
    netns::Netns,
    process::{Proc, poll_until, run},
};

/// Address of the API server, inside the node's namespace.
const API: &str = "https://127.0.0.1:6443";
/// The node's name in Kubernetes.
pub const NODE: &str = "node0";
/// The service account that the shipped manifest makes for tracer.
pub const TRACER: &str = "system:serviceaccount:tracer:tracer";
/// Somebody with no rights beyond those of everybody.
pub const NOBODY: &str = "nobody";
/// Somebody with all rights.
const ADMIN: &str = "admin";
const KUBE_PROXY: &str = "system:kube-proxy";
const START_LIMIT: Duration = Duration::from_secs(120);

/// A control plane and kube-proxy; all of it ends when this is dropped.
#[derive(Debug)]
pub struct Kubernetes<'a> {
    node: &'a Netns,
    address: Ipv4Addr,
    programs: PathBuf,
    api: Option<Proc>,
    _proxy: Proc,
    _etcd: Proc,
    dir: ScratchDir,
}

impl<'a> Kubernetes<'a> {
    /// Starts everything on `node`, which has this address, and waits until the API answers.
    /// The programs are in the directory that `TRACER_KUBERNETES_PROGRAMS` names.
    pub fn start(node: &'a Netns, address: Ipv4Addr) -> Result<Self> {
        let programs = std::env::var_os("TRACER_KUBERNETES_PROGRAMS").map(PathBuf::from);
        let programs = programs.context(
            "set TRACER_KUBERNETES_PROGRAMS to a directory with etcd, kubectl, kube-apiserver and \
             kube-proxy (cargo xtask test --kubernetes does)",
        )?;
        let dir = ScratchDir::new()?;
        keys::make(dir.path(), address)?;
        let users = [
            (ADMIN, "system:masters"),
            (KUBE_PROXY, ""),
            (TRACER, "system:serviceaccounts"),
            (NOBODY, ""),
        ];
        let line = |(name, group): &(&str, &str)| {
            let token = token(name);
            format!("{token},{name},{token},\"{group}\"\n")
        };
        dir.write("tokens.csv", &users.iter().map(line).collect::<String>())?;
        for (name, _) in &users {
            dir.write(&file_of(name), &kubeconfig(name, dir.path()))?;
        }
        let etcd = start_etcd(node, &programs, dir.path())?;
        let api = start_api(node, address, &programs, dir.path())?;
        let mut kubernetes = Self {
            node,
            address,
            api: Some(api),
            // Waits for the API by itself.
            _proxy: start_proxy(node, &programs, dir.path())?,
            _etcd: etcd,
            programs,
            dir,
        };
        kubernetes.wait_for_api()?;
        kubernetes.apply(&objects::node(address))?;
        Ok(kubernetes)
    }

    /// The file by which `user` reaches the API.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.path().join(file_of(user))
    }

    /// Runs kubectl with all rights and returns what it printed.
    pub fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        run(self.kubectl_command(args)?, input)
    }

    /// Makes or changes objects (YAML or JSON).
    pub fn apply(&self, objects: &str) -> Result<()> {
        self.kubectl(&["apply", "-f", "-"], objects).map(drop)
    }

    /// Deletes `kind/name` of the namespace that [`objects`] are in.
    pub fn delete(&self, object: &str) -> Result<()> {
        let args = ["delete", "--namespace", objects::NAMESPACE, object];
        self.kubectl(&args, "").map(drop)
    }

    /// Kills the API server.
    pub fn stop_api(&mut self) {
        drop(self.api.take());
    }

    /// Starts it again and waits until it answers.
    pub fn start_api(&mut self) -> Result<()> {
        let (programs, dir) = (&self.programs, self.dir.path());
        self.api = Some(start_api(self.node, self.address, programs, dir)?);
        self.wait_for_api()
    }

    fn kubectl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.node.command(self.programs.join("kubectl"))?;
        command
            .env("HOME", self.dir.path())
            .arg("--kubeconfig")
            .arg(self.kubeconfig(ADMIN))
            .args(args);
        Ok(command)
    }

    fn wait_for_api(&mut self) -> Result<()> {
        let mut api = self.api.take().context("the API server was stopped")?;
        let waited = poll_until(START_LIMIT, "kube-apiserver is not ready", || {
            anyhow::ensure!(api.try_wait()?.is_none(), "kube-apiserver ended early");
            // Roles are made after the start.
            let role = ["get", "clusterrole", "system:node-proxier"];
            let ready = self.kubectl(&["get", "--raw", "/readyz"], "").is_ok()
                && self.kubectl(&role, "").is_ok();
            Ok(ready.then_some(()))
        });
        let waited = waited.with_context(|| api.stderr());
        self.api = Some(api);
        waited
    }
}

/// A token is a secret by which the API server knows a user; here it is its name.
fn token(user: &str) -> String {
    user.replace(':', "-")
}

fn file_of(user: &str) -> String {
    format!("{}.kubeconfig", token(user))
}

fn kubeconfig(user: &str, dir: &Path) -> String {
    let (ca, token) = (dir.join(keys::CA), token(user));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: bed\n\
         clusters: [{{name: bed, cluster: {{server: '{API}', certificate-authority: {}}}}}]\n\
         users: [{{name: bed, user: {{token: {token}}}}}]\n\
         contexts: [{{name: bed, context: {{cluster: bed, user: bed}}}}]\n",
        ca.display()
    )
}

fn start_etcd(node: &Netns, programs: &Path, dir: &Path) -> Result<Proc> {
    let mut command = node.command(programs.join("etcd"))?;
    let (client, peer) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    command.arg("--data-dir").arg(dir.join("etcd")).args([
        "--listen-client-urls",
        client,
        "--advertise-client-urls",
        client,
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
        "--initial-cluster",
        "default=http://127.0.0.1:2380",
        "--log-level",
        "error",
    ]);
    node.spawn(command)
}

fn start_api(node: &Netns, address: Ipv4Addr, programs: &Path, dir: &Path) -> Result<Proc> {
    let mut command = node.command(programs.join("kube-apiserver"))?;
    let file = |option: &str, name: &str| format!("--{option}={}", dir.join(name).display());
    command.args([
        file("tls-cert-file", keys::CERTIFICATE),
        file("tls-private-key-file", keys::KEY),
        file("service-account-key-file", keys::CERTIFICATE),
        file("service-account-signing-key-file", keys::KEY),
        file("token-auth-file", "tokens.csv"),
    ]);
    command.arg(format!("--advertise-address={address}"));
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=127.0.0.1",
        "--secure-port=6443",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        // No controller makes the accounts that pods would need.
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--v=0",
    ]);
    node.spawn(command)
}

fn start_proxy(node: &Netns, programs: &Path, dir: &Path) -> Result<Proc> {
    let mut command = node.command(programs.join("kube-proxy"))?;
    command
        .arg("--kubeconfig")
        .arg(dir.join(file_of(KUBE_PROXY)));
    command.args([
        &format!("--hostname-override={NODE}"),
        "--proxy-mode=iptables",
        "--cluster-cidr=10.244.0.0/16",
        "--iptables-min-sync-period=100ms",
        // These sysctls belong to the whole machine.
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]);
    node.spawn(command)
}
