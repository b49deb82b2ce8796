//! EndpointSlices: who may be chosen for a port, and in what condition.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::table::Pod;

/// One address of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listed {
    /// The address.
    pub address: IpAddr,
    /// Name of the pod there; `None`: it is no pod.
    pub pod: Option<Box<str>>,
    /// Name of the node that it is on, if that is said.
    pub node: Option<Box<str>>,
    /// `conditions.ready`; absent means true.
    pub ready: bool,
    /// `conditions.serving`; absent means the same as `ready`.
    pub serving: bool,
    /// `conditions.terminating`: the pod has been deleted and may still run.
    pub terminating: bool,
}

/// What is kept of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Name of its Service.
    pub service: Box<str>,
    /// Its TCP ports: name (that of the Service's port) and number.
    pub ports: Vec<(Box<str>, u16)>,
    /// Its addresses.
    pub endpoints: Vec<Listed>,
    /// Endpoints that cannot be right.
    pub unusable: usize,
}

/// The EndpointSlices of a Service, as seen from one of its node ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Name of the Service's port.
    pub port_name: Box<str>,
    /// Namespace of the Service.
    pub namespace: Box<str>,
    /// Shared by the ports of the Service.
    pub slices: Arc<[Arc<Slice>]>,
}

/// A backend that Kubernetes lists for a node port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port that NAT sends to.
    pub address: SocketAddr,
    /// It gets new connections.
    pub ready: bool,
    /// It would answer, whether it is being deleted or not.
    pub serving: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// The pod; `None`: it is none.
    pub pod: Option<Pod>,
    /// The node that it is on, if that is said.
    pub node: Option<Box<str>>,
}

impl Set {
    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.listed().map(|(port, listed)| {
            let pod = listed.pod.as_ref().map(|name| Pod {
                namespace: self.namespace.clone(),
                name: name.clone(),
            });
            Endpoint {
                address: SocketAddr::new(listed.address, port),
                ready: listed.ready,
                serving: listed.serving,
                terminating: listed.terminating,
                pod,
                node: listed.node.clone(),
            }
        })
    }

    /// Whether a proxy that is up to date may choose this address: it is ready, or,
    /// where none is, it still serves (KEP-1669). Also how many it may choose.
    pub fn chosen(&self, address: SocketAddr) -> (bool, usize) {
        let count = |fits: fn(&Listed) -> bool| {
            let fitting = self.listed().filter(|(_, listed)| fits(listed));
            fitting.fold((false, 0), |(found, all), (port, listed)| {
                let same = SocketAddr::new(listed.address, port) == address;
                (found || same, all + 1)
            })
        };
        match count(|listed| listed.ready) {
            (_, 0) => count(|listed| listed.serving && listed.terminating),
            ready => ready,
        }
    }

    fn listed(&self) -> impl Iterator<Item = (u16, &Listed)> {
        self.slices.iter().flat_map(|slice| {
            let mut named = slice.ports.iter();
            let port = named.find(|(name, _)| *name == self.port_name);
            let endpoints = port.map(|(_, port)| slice.endpoints.iter().map(|e| (*port, e)));
            endpoints.into_iter().flatten()
        })
    }
}
