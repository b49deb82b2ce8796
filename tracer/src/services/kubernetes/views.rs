//! What the lists of Services and EndpointSlices come to when they are joined.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{pick::Service, store::Key};
use crate::services::{
    endpoints::{Listed, Set, Slice},
    table::Pod,
    tenants::Present,
};

/// Services by namespace and name.
pub(super) type Services = BTreeMap<Key, Service>;
/// EndpointSlices by namespace and name of their Service.
pub(super) type ByService<'a> = HashMap<(&'a str, &'a str), Vec<&'a Arc<Slice>>>;

pub(super) fn by_service(slices: &BTreeMap<Key, Arc<Slice>>) -> ByService<'_> {
    let mut by_service = ByService::new();
    for ((namespace, _), slice) in slices {
        let key = (&**namespace, &*slice.service);
        by_service.entry(key).or_default().push(slice);
    }
    by_service
}

/// The EndpointSlices of these Services, by node port.
pub(super) fn sets(services: &Services, slices: &ByService<'_>) -> BTreeMap<u16, Set> {
    let mut sets = BTreeMap::new();
    for ((namespace, service), object) in services {
        let own = slices.get(&(&**namespace, &**service));
        let own: Arc<[Arc<Slice>]> = own.into_iter().flatten().copied().cloned().collect();
        for (port, port_name) in &object.ports {
            sets.entry(*port).or_insert_with(|| Set {
                port_name: port_name.clone(),
                slices: Arc::clone(&own),
            });
        }
    }
    sets
}

/// The endpoints of these Services that are pods, with their namespaces.
fn listed<'a>(
    services: &'a Services,
    slices: &'a ByService<'a>,
) -> impl Iterator<Item = (&'a Listed, Pod)> {
    let own = services.keys().filter_map(|(namespace, service)| {
        let own = slices.get(&(&**namespace, &**service))?;
        Some(own.iter().map(move |slice| (namespace, slice)))
    });
    own.flatten().flat_map(|(namespace, slice)| {
        slice.endpoints.iter().filter_map(move |listed| {
            let (namespace, name) = (namespace.clone(), listed.pod.clone()?);
            Some((listed, Pod { namespace, name }))
        })
    })
}

/// The pods of these Services.
pub(super) fn pods(services: &Services, slices: &ByService<'_>) -> HashMap<IpAddr, Pod> {
    let mut pods = HashMap::new();
    for (listed, pod) in listed(services, slices) {
        // A pod that is gone is listed for a while beside the one that has its address.
        if listed.terminating {
            pods.entry(listed.address).or_insert(pod);
        } else {
            pods.insert(listed.address, pod);
        }
    }
    pods
}

/// Who is where, and how.
pub(super) fn present(services: &Services, slices: &ByService<'_>) -> HashMap<IpAddr, Present> {
    let mut present: HashMap<IpAddr, Present> = HashMap::new();
    for (listed, pod) in listed(services, slices) {
        let is = Present {
            pod,
            ready: listed.ready,
            terminating: listed.terminating,
        };
        match present.get_mut(&listed.address) {
            Some(other) if other.pod == is.pod => {
                other.ready |= is.ready;
                other.terminating |= is.terminating;
            }
            // One that is going makes way for one that is there.
            Some(other) if other.terminating => *other = is,
            Some(_) => {}
            None => drop(present.insert(listed.address, is)),
        }
    }
    present
}
