//! The names of one moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use super::{
    endpoints::Set,
    tenants::{Tenancy, Tenants},
};
use crate::config::PortSet;

/// Port of a Service. The parts are names as [`super::name`] lets them through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Namespace of the Service.
    pub namespace: Box<str>,
    /// Name of the Service.
    pub service: Box<str>,
    /// Name of its port; empty: it has none.
    pub port_name: Box<str>,
    /// The only node port of this Service that its load balancer's health check goes
    /// to; `None`: that is not known.
    pub health_check_port: Option<u16>,
}

impl fmt::Display for ServicePort {
    /// `namespace/name:port_name`, or `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)?;
        if self.port_name.is_empty() {
            return Ok(());
        }
        write!(f, ":{}", self.port_name)
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl fmt::Display for Pod {
    /// `namespace/name`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Names by port and by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub(super) ports: BTreeMap<u16, ServicePort>,
    pub(super) pods: HashMap<IpAddr, Pod>,
    /// Of Services: cluster IPs, external IPs, those of load balancers.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// EndpointSlices by node port; none unless their list is complete.
    pub(super) sets: BTreeMap<u16, Set>,
    /// Who held which address.
    pub(super) tenants: Arc<Tenants>,
}

impl Table {
    /// The Service behind a port.
    #[must_use]
    pub fn port(&self, node_port: u16) -> Option<&ServicePort> {
        self.ports.get(&node_port)
    }

    /// The same as text, `namespace/name:port_name`.
    #[must_use]
    pub fn service(&self, node_port: u16) -> Option<String> {
        self.port(node_port).map(ServicePort::to_string)
    }

    /// The pod that has an address.
    #[must_use]
    pub fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        self.pods.get(&address)
    }

    /// The same as text, `namespace/name`.
    #[cfg(test)]
    #[must_use]
    pub fn pod(&self, address: IpAddr) -> Option<String> {
        self.pod_at(address).map(Pod::to_string)
    }

    /// Addresses of Services, which the node translates as it does its own.
    #[must_use]
    pub fn addresses(&self) -> &BTreeSet<IpAddr> {
        &self.addresses
    }

    /// The backends that Kubernetes lists for a node port; `None`: that is not known,
    /// since there is no Kubernetes or its list is not complete yet.
    #[must_use]
    pub fn endpoints(&self, node_port: u16) -> Option<&Set> {
        self.sets.get(&node_port)
    }

    /// Who held which address, when.
    #[must_use]
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// The last pod that came to hold an address by `at`, nanoseconds of the
    /// monotonic clock, whether it had gone by then or not.
    #[must_use]
    pub fn holder_at(&self, address: IpAddr, at: u64) -> Option<&Tenancy> {
        self.tenants.last_at(address, at)
    }

    /// The pod of an address at that time, or, where nothing is known of the past,
    /// the one that has it now.
    #[must_use]
    pub fn pod_then(&self, address: IpAddr, at: u64) -> Option<&Pod> {
        if self.tenants.knows(address) {
            return self.holder_at(address, at).map(|tenancy| &*tenancy.pod);
        }
        self.pod_at(address)
    }

    /// Where the health check of this port's load balancer goes, if that is known.
    #[must_use]
    pub fn health_check_port(&self, node_port: u16) -> Option<u16> {
        self.port(node_port)?.health_check_port
    }

    /// The ports that no health check goes to, ascending.
    #[must_use]
    pub fn unchecked(&self) -> Vec<u16> {
        let ports = self.ports.iter();
        let elsewhere = |port: u16, s: &ServicePort| s.health_check_port.is_some_and(|p| p != port);
        ports
            .filter(|(port, service)| elsewhere(**port, service))
            .map(|(port, _)| *port)
            .collect()
    }

    /// Forgets where health checks go.
    pub(super) fn forget_checks(&mut self) {
        for service in self.ports.values_mut() {
            service.health_check_port = None;
        }
    }

    /// All ports that have a name, ascending.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &ServicePort)> {
        self.ports.iter().map(|(port, service)| (*port, service))
    }

    /// With one name.
    #[cfg(test)]
    pub fn named(node_port: u16, namespace: &str, service: &str, port_name: &str) -> Self {
        let port = ServicePort {
            namespace: namespace.into(),
            service: service.into(),
            port_name: port_name.into(),
            health_check_port: None,
        };
        Self {
            ports: BTreeMap::from([(node_port, port)]),
            ..Self::default()
        }
    }

    /// Names a pod.
    #[cfg(test)]
    pub fn name_pod(&mut self, address: IpAddr, namespace: &str, name: &str) {
        let (namespace, name) = (namespace.into(), name.into());
        self.pods.insert(address, Pod { namespace, name });
    }

    /// Says where the health check of a port goes.
    #[cfg(test)]
    pub fn check(&mut self, node_port: u16, checked: u16) {
        if let Some(port) = self.ports.get_mut(&node_port) {
            port.health_check_port = Some(checked);
        }
    }

    /// Remembers a tenancy.
    #[cfg(test)]
    pub fn remember(&mut self, address: IpAddr, tenancy: Tenancy) {
        Arc::make_mut(&mut self.tenants).add(address, tenancy);
    }

    /// The port had no ready endpoint in that time.
    #[cfg(test)]
    pub fn was_empty(&mut self, node_port: u16, from: u64, until: u64) {
        let empty = &mut Arc::make_mut(&mut self.tenants).empty;
        empty.update([node_port].into_iter(), false, from);
        empty.update([].into_iter(), false, until);
    }

    /// The endpoint served alone on its node in that time, though it was being deleted.
    #[cfg(test)]
    pub fn was_alone(
        &mut self,
        node_port: u16,
        endpoint: std::net::SocketAddr,
        from: u64,
        until: u64,
    ) {
        let alone = &mut Arc::make_mut(&mut self.tenants).alone;
        alone.update([(node_port, endpoint)].into_iter(), false, from);
        alone.update([].into_iter(), false, until);
    }

    /// Lists these endpoints for a port.
    #[cfg(test)]
    pub fn list(&mut self, node_port: u16, port: u16, endpoints: Vec<super::endpoints::Listed>) {
        let slice = super::endpoints::Slice {
            ports: vec![("".into(), port)],
            endpoints,
            ..Default::default()
        };
        let set = Set {
            port_name: "".into(),
            slices: [Arc::new(slice)].into(),
        };
        self.sets.insert(node_port, set);
        Arc::make_mut(&mut self.tenants)
            .known_since
            .get_or_insert(0);
    }

    /// Whether there is no name, and no address of a Service.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.pods.is_empty() && self.addresses.is_empty()
    }

    /// Takes from `lower` what is absent here.
    #[must_use]
    pub(super) fn or(mut self, lower: &Self) -> Self {
        for (port, service) in &lower.ports {
            self.ports.entry(*port).or_insert_with(|| service.clone());
        }
        for (address, pod) in &lower.pods {
            self.pods.entry(*address).or_insert_with(|| pod.clone());
        }
        self.addresses.extend(&lower.addresses);
        self.sets.clone_from(&lower.sets);
        self.tenants = Arc::clone(&lower.tenants);
        self
    }

    /// Without the ports that are not watched.
    pub(super) fn only(mut self, watched: &PortSet) -> Self {
        let watched = |port: &u16| watched.as_slice().binary_search(port).is_ok();
        self.ports.retain(|port, _| watched(port));
        self.sets.retain(|port, _| watched(port));
        self
    }
}
