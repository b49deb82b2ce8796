//! EndpointSlices: who may be chosen for a port, and in what condition.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

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
    /// Shared by the ports of the Service.
    pub slices: Arc<[Arc<Slice>]>,
}

impl Set {
    /// All endpoints: where NAT sends to, and what is listed there.
    pub fn endpoints(&self) -> impl Iterator<Item = (SocketAddr, &Listed)> {
        self.slices.iter().flat_map(|slice| {
            let mut named = slice.ports.iter();
            let port = named.find(|(name, _)| *name == self.port_name);
            let port = port.map(|(_, port)| *port).into_iter();
            port.flat_map(|port| {
                let at = move |listed: &'_ Listed| SocketAddr::new(listed.address, port);
                slice
                    .endpoints
                    .iter()
                    .map(move |listed| (at(listed), listed))
            })
        })
    }

    /// Whether a proxy that is up to date may choose this address: it is ready, or it
    /// still serves where none is ready, on its node (externalTrafficPolicy Local) or at
    /// all (KEP-1669).
    #[must_use]
    pub fn may_choose(&self, address: SocketAddr) -> bool {
        self.endpoints()
            .any(|(at, listed)| at == address && (listed.ready || self.serves_alone(listed)))
    }

    fn serves_alone(&self, listed: &Listed) -> bool {
        let is_near = |other: &Listed| listed.node.is_none() || other.node == listed.node;
        let mut others = self.endpoints();
        listed.serving
            && listed.terminating
            && !others.any(|(_, other)| other.ready && is_near(other))
    }

    /// Those that are being deleted and still serve, with no ready one on their node: a
    /// proxy that is up to date may choose them there.
    pub fn alone(&self) -> impl Iterator<Item = SocketAddr> {
        let ready = self.endpoints().filter(|(_, listed)| listed.ready);
        let near: HashSet<Option<&str>> = ready.map(|(_, ready)| ready.node.as_deref()).collect();
        self.endpoints().filter_map(move |(at, listed)| {
            let has_near = match &listed.node {
                Some(node) => near.contains(&Some(&**node)),
                None => !near.is_empty(),
            };
            (listed.serving && listed.terminating && !has_near).then_some(at)
        })
    }

    /// Whether any is ready.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.endpoints().any(|(_, listed)| listed.ready)
    }

    /// How many are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.endpoints().filter(|(_, listed)| listed.ready).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_serves_alone_where_no_ready_one_is_near() {
        let listed = |last, node: Option<&str>, ready| Listed {
            address: IpAddr::from([10, 244, 1, last]),
            pod: None,
            node: node.map(Into::into),
            ready,
            serving: true,
            terminating: !ready,
        };
        let alone = |endpoints: Vec<Listed>| -> Vec<String> {
            let slice = Slice {
                ports: vec![("".into(), 9090)],
                endpoints,
                ..Slice::default()
            };
            let set = Set {
                port_name: "".into(),
                slices: [Arc::new(slice)].into(),
            };
            let alone: Vec<SocketAddr> = set.alone().collect();
            assert!(alone.iter().all(|at| set.may_choose(*at)));
            alone.iter().map(|at| at.ip().to_string()).collect()
        };
        let going = || listed(2, Some("n"), false);
        assert_eq!(alone(vec![going()]), ["10.244.1.2"]);
        let elsewhere = vec![going(), listed(3, Some("m"), true)];
        assert_eq!(alone(elsewhere), ["10.244.1.2"]);
        assert!(alone(vec![going(), listed(3, Some("n"), true)]).is_empty());
        // It is not said where it is.
        assert!(alone(vec![listed(2, None, false), listed(3, Some("m"), true)]).is_empty());
        let stopped = Listed {
            serving: false,
            ..going()
        };
        assert!(alone(vec![stopped]).is_empty());
    }
}
