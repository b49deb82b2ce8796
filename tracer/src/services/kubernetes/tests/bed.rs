//! Objects of an API that is well, and what watches it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    super::{health::Trouble, *},
    api::{Answer, Api, Then},
};
use crate::{config::Config, services::Shared};

/// How long anything may take on a machine that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// As Kubernetes 1.20 gives it, with what nobody needs.
pub(super) fn service(name: &str, version: u32, node_port: u16) -> Value {
    json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": "thrift", "uid": "0d6ae3a5-2d3e-4a52-8d63-6f9e2d4f8f0e",
            "resourceVersion": version.to_string(), "creationTimestamp": "2026-11-25T03:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [{
                "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-25T03:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:ports": {".": {}}}},
            }],
        },
        "spec": {
            "ports": [{"name": "api", "protocol": "TCP", "port": 9090, "targetPort": 9090, "nodePort": node_port}],
            "selector": {"app": name}, "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
            "type": "NodePort", "sessionAffinity": "None", "externalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    })
}

pub(super) fn slice(service: &str, version: u32, address: &str, pod: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("{service}-abcde"), "namespace": "thrift",
            "resourceVersion": version.to_string(),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [address], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "thrift", "name": pod},
        }],
        "ports": [{"name": "api", "protocol": "TCP", "port": 9090}],
    })
}

/// Two Services and a pod; the watches stay open.
pub(super) fn well(api: &Api) {
    let services = [service("users", 5, 30101), service("search", 6, 30102)];
    api.answers("list services", [Answer::list(7, "", &services)]);
    api.answers("watch services", [Answer::watch(&[], Then::Hold)]);
    let slices = [slice("users", 8, "10.244.0.2", "users-0")];
    api.answers("list v1", [Answer::list(9, "", &slices)]);
    api.answers("watch v1", [Answer::watch(&[], Then::Hold)]);
}

/// What watches an API.
pub(super) struct Bed {
    pub(super) shared: Arc<Shared>,
    pub(super) kubernetes: Option<Kubernetes>,
}

impl Bed {
    pub(super) fn new(name: &str, api: &Api) -> Self {
        Self::trusting(name, api, "cert.pem")
    }

    pub(super) fn trusting(name: &str, api: &Api, ca: &str) -> Self {
        let file = api.kubeconfig(name, ca);
        let bed = Self::by(Access::Kubeconfig(Some(file.clone())));
        let _ = std::fs::remove_file(file);
        bed
    }

    pub(super) fn by(access: Access) -> Self {
        let config = Config::new(Default::default(), Default::default()).unwrap();
        let shared = Arc::new(Shared {
            health: Some(Arc::default()),
            ..Shared::new(&config)
        });
        let kubernetes = Kubernetes::start(access, &shared).unwrap();
        Self {
            shared,
            kubernetes: Some(kubernetes),
        }
    }

    pub(super) fn health(&self) -> &Health {
        self.shared.health.as_ref().unwrap()
    }

    pub(super) fn names(&self) -> Vec<(u16, String)> {
        let table = Arc::clone(&self.shared.table.read().unwrap());
        table
            .ports()
            .map(|(port, named)| (port, named.service.to_string()))
            .collect()
    }

    pub(super) fn pod(&self, address: &str) -> Option<String> {
        self.shared
            .table
            .read()
            .unwrap()
            .pod(address.parse().unwrap())
    }

    pub(super) fn errors(&self, trouble: Trouble) -> u64 {
        self.health()
            .errors()
            .find(|(t, _)| *t == trouble)
            .unwrap()
            .1
    }

    #[track_caller]
    pub(super) fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let errors: Vec<_> = self.health().errors().filter(|e| e.1 != 0).collect();
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: {:?}, {errors:?}",
                self.names()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(super) fn wait_names(&self, expected: &[(u16, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(p, n)| (*p, (*n).to_owned()))
            .collect();
        self.wait("names", |bed| bed.names() == expected);
    }

    #[track_caller]
    pub(super) fn wait_synced(&self, synced: bool) {
        self.wait("synced", |bed| bed.health().is_synced() == synced);
    }
}
