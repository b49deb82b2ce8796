//! From the API's JSON to what names are made of. Nothing in it is trusted: what
//! is not as it should be is left out, and counted.

use std::net::IpAddr;

use serde_json::Value;

use super::{check::Check, store::Key};
use crate::services::{
    endpoints::{Listed, Slice},
    name::{self, is_plain},
};

/// The label that says which Service an EndpointSlice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Ports of an EndpointSlice, at most; the API allows no more.
const PORTS: usize = 100;
/// Addresses of one Service, at most.
const ADDRESSES: usize = 32;

/// What is kept of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Its TCP ports that have a node port: node port and name.
    pub(super) ports: Vec<(u16, Box<str>)>,
    /// `spec.healthCheckNodePort`
    pub(super) health_check_node_port: Option<u16>,
    /// Where its load balancer's health check goes.
    pub(super) check: Check,
    /// Its own addresses: cluster IPs, external IPs, those of its load balancer.
    pub(super) addresses: Box<[IpAddr]>,
    /// Ports that cannot be right.
    pub(super) unusable: usize,
}

/// Namespace and name of an object; `None`: they cannot be.
pub(super) fn key(object: &Value) -> Option<Key> {
    let namespace = plain(object.pointer("/metadata/namespace")?, name::LABEL)?;
    let name = plain(object.pointer("/metadata/name")?, name::POD)?;
    Some((namespace.into(), name.into()))
}

/// A Service; `None`: it is none, or its name is longer than a Service's can be.
pub(super) fn service(object: &Value) -> Option<Service> {
    plain(object.pointer("/metadata/name")?, name::LABEL)?;
    let spec = object.get("spec")?;
    let listed = items(spec.get("ports"));
    let mut service = Service {
        ports: Vec::new(),
        check: Check::of(object),
        health_check_node_port: spec.get("healthCheckNodePort").and_then(port),
        addresses: addresses(object),
        unusable: 0,
    };
    for listed in listed {
        match node_port(listed) {
            Ok(Some(port)) => service.ports.push(port),
            Ok(None) => {}
            Err(Unusable) => service.unusable += 1,
        }
    }
    Some(service)
}

/// The addresses of a Service. (`None` of a headless one and the host names of load
/// balancers are no addresses.)
fn addresses(object: &Value) -> Box<[IpAddr]> {
    let listed = |pointer| items(object.pointer(pointer));
    let balancers = listed("/status/loadBalancer/ingress").filter_map(|entry| entry.get("ip"));
    let all = listed("/spec/clusterIPs")
        .chain(listed("/spec/externalIPs"))
        .chain(balancers);
    let parsed = all.filter_map(|address| address.as_str()?.parse().ok());
    parsed
        .take(ADDRESSES)
        .map(|ip: IpAddr| ip.to_canonical())
        .collect()
}

struct Unusable;

/// A port's node port and name; `None`: it has no node port, or is not TCP.
fn node_port(listed: &Value) -> Result<Option<(u16, Box<str>)>, Unusable> {
    let tcp = listed.get("protocol").is_none_or(|p| p == "TCP");
    let number = match listed.get("nodePort") {
        // Absent and 0 are the same to the API.
        Some(number) if tcp && *number != 0 => number,
        _ => return Ok(None),
    };
    let number = port(number).ok_or(Unusable)?;
    let name = match listed.get("name") {
        Some(name) if *name != "" => plain(name, name::LABEL).ok_or(Unusable)?,
        _ => "",
    };
    Ok(Some((number, name.into())))
}

/// An EndpointSlice; `None`: it has no addresses, no Service that could be, or
/// is no object.
pub(super) fn slice(object: &Value) -> Option<Slice> {
    let labels = object.pointer("/metadata/labels")?;
    let service = plain(labels.get(SERVICE_NAME)?, name::LABEL)?;
    if object.get("addressType")? == "FQDN" {
        return None;
    }
    let tcp = |p: &&Value| p.get("protocol").is_none_or(|p| p == "TCP");
    let ports = items(object.get("ports")).filter(tcp).take(PORTS);
    let mut slice = Slice {
        service: service.into(),
        ports: ports.filter_map(slice_port).collect(),
        endpoints: Vec::new(),
        unusable: 0,
    };
    for endpoint in items(object.get("endpoints")) {
        add_endpoint(&mut slice, endpoint);
    }
    Some(slice)
}

/// Name and number of an EndpointSlice's port.
fn slice_port(listed: &Value) -> Option<(Box<str>, u16)> {
    let number = port(listed.get("port")?)?;
    let name = match listed.get("name") {
        None | Some(Value::Null) => "",
        Some(name) if *name == "" => "",
        Some(name) => plain(name, name::LABEL)?,
    };
    Some((name.into(), number))
}

/// An endpoint has the same pod at each of its addresses.
fn add_endpoint(slice: &mut Slice, endpoint: &Value) {
    let target = endpoint.get("targetRef").filter(|t| t["kind"] == "Pod");
    let pod = target.map(|t| t.get("name").and_then(|name| plain(name, name::POD)));
    let condition = |name: &str| endpoint.get("conditions")?.get(name)?.as_bool();
    let ready = condition("ready").unwrap_or(true);
    let node = endpoint.get("nodeName");
    for address in items(endpoint.get("addresses")) {
        let parsed = address.as_str().and_then(|text| text.parse().ok());
        let (Some(address), false) = (parsed, pod == Some(None)) else {
            slice.unusable += 1;
            continue;
        };
        slice.endpoints.push(Listed {
            address: IpAddr::to_canonical(&address),
            pod: pod.flatten().map(Into::into),
            node: node.and_then(|n| plain(n, name::POD)).map(Into::into),
            ready,
            serving: condition("serving").unwrap_or(ready),
            terminating: condition("terminating").unwrap_or(false),
        });
    }
}

pub(super) fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// A name that is not empty.
fn plain(value: &Value, longest: usize) -> Option<&str> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    is_plain(text, longest).then_some(text)
}

pub(super) fn port(value: &Value) -> Option<u16> {
    let number = value.as_u64().and_then(|port| u16::try_from(port).ok());
    number.filter(|port| *port != 0)
}

#[cfg(test)]
mod tests;
