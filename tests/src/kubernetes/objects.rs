//! Objects of the API, as JSON.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::kube_proxy::Policy;

/// Namespace of all Services and endpoints.
pub const NAMESPACE: &str = "shop";

/// The node, of which kube-proxy wants to know the address.
#[must_use]
pub fn node(address: Ipv4Addr) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": super::NODE},
        "status": {"addresses": [{"type": "InternalIP", "address": address.to_string()}]},
    })
    .to_string()
}

/// The namespace.
#[must_use]
pub fn namespace() -> String {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
    });
    object.to_string()
}

/// A Service of type NodePort with one port, `thrift`, and no selector.
#[must_use]
pub fn service(name: &str, node_port: u16, policy: Policy) -> String {
    let policy = match policy {
        Policy::Cluster => "Cluster",
        Policy::Local => "Local",
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": "NodePort",
            "externalTrafficPolicy": policy,
            "ports": [{
                "name": "thrift", "port": 9090, "targetPort": 9090, "nodePort": node_port,
            }],
        },
    })
    .to_string()
}

/// The EndpointSlice of the Service `name`, as `on` that node.
#[must_use]
pub fn endpoints(name: &str, on: &str, backends: &[SocketAddr]) -> String {
    let endpoint = |backend: &SocketAddr| -> Value {
        json!({
            "addresses": [backend.ip().to_string()],
            "conditions": {"ready": true},
            "topology": {"kubernetes.io/hostname": on},
            "targetRef": {
                "kind": "Pod",
                "name": format!("{name}-{}", backend.ip().to_string().replace('.', "-")),
                "namespace": NAMESPACE,
            },
        })
    };
    let ports: Vec<Value> = backends
        .first()
        .map(|backend| json!({"name": "thrift", "port": backend.port(), "protocol": "TCP"}))
        .into_iter()
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": backends.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports,
    })
    .to_string()
}
