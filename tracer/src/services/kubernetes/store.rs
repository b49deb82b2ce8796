//! What the watches have told, within bounds.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    health::{Health, Left},
    pick::Service,
    views::{ByService, Services, by_service, pods, present, sets},
};
use crate::{
    config::{HealthCheckGate, PortSet},
    recorder::monotonic,
    services::{
        endpoints::{Listed, Set, Slice},
        table::{ServicePort, Table},
        tenants::{self, Tenants, Touch},
    },
};

/// Services with node ports that are kept, at most. There are no more node ports
/// than 2768 unless the API server is told otherwise.
const SERVICES: usize = 8192;
/// Addresses of endpoints that are kept, at most.
const ENDPOINTS: usize = 32_768;
/// Name of the port that the load balancer of an `externalTrafficPolicy: Local`
/// Service checks, as the field is called.
const HEALTH_CHECK: &str = "healthCheckNodePort";

/// Namespace and name.
pub(super) type Key = (Box<str>, Box<str>);

/// All that is known, and the list that is just being read.
pub(super) struct Store {
    services: RefCell<Listing<Service>>,
    slices: RefCell<Listing<Arc<Slice>>>,
    /// Addresses that changed since the last table was made.
    touched: RefCell<HashMap<IpAddr, Touch>>,
    tenants: RefCell<Arc<Tenants>>,
    watched: PortSet,
    gate: HealthCheckGate,
    health: Arc<Health>,
}

/// Objects by name.
struct Listing<T> {
    /// In use.
    known: BTreeMap<Key, T>,
    /// A list that is not complete yet.
    coming: Option<BTreeMap<Key, T>>,
    /// How much of the room is taken, in `known` and in `coming`.
    taken: [usize; 2],
    /// A list was complete once.
    listed: bool,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            coming: None,
            taken: [0; 2],
            listed: false,
        }
    }
}

/// What is counted against the room.
pub(super) trait Size {
    const ROOM: usize;
    const LEFT: Left;
    fn size(&self) -> usize;
}

impl Size for Service {
    const ROOM: usize = SERVICES;
    const LEFT: Left = Left::Services;
    fn size(&self) -> usize {
        1
    }
}

impl Size for Arc<Slice> {
    const ROOM: usize = ENDPOINTS;
    const LEFT: Left = Left::Endpoints;
    fn size(&self) -> usize {
        self.endpoints.len()
    }
}

impl<T: Size> Listing<T> {
    fn begin(&mut self) {
        self.coming = Some(BTreeMap::new());
        self.taken[1] = 0;
    }

    fn end(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.known = coming;
            self.taken = [self.taken[1], 0];
            self.listed = true;
        }
    }

    /// Puts an object in the place of its predecessor; `None` takes that away.
    /// Whether there was room.
    fn put(&mut self, coming: bool, key: Key, object: Option<T>) -> bool {
        let (all, taken) = match &mut self.coming {
            Some(all) if coming => (all, &mut self.taken[1]),
            _ => (&mut self.known, &mut self.taken[0]),
        };
        if let Some(old) = all.remove(&key) {
            *taken -= old.size();
        }
        let Some(object) = object else { return true };
        if *taken + object.size() > T::ROOM {
            return false;
        }
        *taken += object.size();
        all.insert(key, object);
        true
    }
}

impl Store {
    pub(super) fn new(watched: &PortSet, gate: HealthCheckGate, health: &Arc<Health>) -> Self {
        Self {
            services: RefCell::default(),
            slices: RefCell::default(),
            touched: RefCell::default(),
            tenants: RefCell::default(),
            watched: watched.clone(),
            gate,
            health: Arc::clone(health),
        }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    fn is_watched(&self, port: u16) -> bool {
        self.watched.as_slice().binary_search(&port).is_ok()
    }

    /// Names as of now. Where two Services claim a port, the first by name has it.
    pub(super) fn table(&self) -> Table {
        let (services, slices) = (self.services.borrow(), self.slices.borrow());
        let mut table = Table::default();
        for ((namespace, service), object) in &services.known {
            let health_check_port = object.check.port(self.gate);
            let checked = object.health_check_node_port;
            let checked = checked.map(|port| (port, HEALTH_CHECK.into()));
            for (port, port_name) in object.ports.iter().cloned().chain(checked) {
                table.ports.entry(port).or_insert_with(|| ServicePort {
                    namespace: namespace.clone(),
                    service: service.clone(),
                    port_name,
                    health_check_port,
                });
            }
        }
        let by_service = by_service(&slices.known);
        if services.listed && slices.listed {
            table.sets = sets(&services.known, &by_service);
            table.tenants = self.tenancies(&services.known, &by_service, &table.sets);
        }
        table.pods = pods(&services.known, &by_service);
        let addresses = services
            .known
            .values()
            .flat_map(|service| &service.addresses);
        table.addresses = addresses.copied().collect();
        table
    }

    /// Who held which address, with what has changed by now.
    fn tenancies(
        &self,
        services: &Services,
        slices: &ByService<'_>,
        sets: &BTreeMap<u16, Set>,
    ) -> Arc<Tenants> {
        let touched = self.touched.take();
        let mut tenants = self.tenants.borrow_mut();
        let changed = Arc::make_mut(&mut tenants);
        let (first, now) = (changed.known_since.is_none(), monotonic());
        let empty = sets.iter().filter(|(_, set)| !set.has_ready());
        changed
            .empty
            .update(empty.map(|(port, _)| *port), first, now);
        let alone = sets.iter().flat_map(|(port, set)| {
            let alone = set.alone();
            alone.map(|at| (*port, at))
        });
        changed.alone.update(alone, first, now);
        changed.update(&present(services, slices), &touched, now);
        Arc::clone(&tenants)
    }
}

/// How a watch puts its objects into the store.
pub(super) trait Keep<T> {
    /// A list begins.
    fn begin(&self);
    /// It is complete.
    fn end(&self);
    /// An object that is there now, in the list that is being read if `coming`;
    /// `None`: there is none of that name that could be used.
    fn put(&self, coming: bool, key: Option<Key>, object: Option<T>);
    /// An object is gone.
    fn remove(&self, key: Option<Key>);
}

impl Keep<Service> for Store {
    fn begin(&self) {
        self.services.borrow_mut().begin();
    }

    fn end(&self) {
        self.services.borrow_mut().end();
    }

    fn put(&self, coming: bool, key: Option<Key>, mut object: Option<Service>) {
        if let Some(service) = &mut object {
            service.ports.retain(|(port, _)| self.is_watched(*port));
            // A Service has a few ports; one that lies may have any number.
            service.ports.truncate(self.watched.len());
            service.ports.shrink_to_fit();
            let checked = service.health_check_node_port;
            service.health_check_node_port = checked.filter(|port| self.is_watched(*port));
        }
        let (usable, unusable) = (object.is_some(), object.as_ref().map_or(0, |o| o.unusable));
        let named = |s: &Service| !s.ports.is_empty() || s.health_check_node_port.is_some();
        let object = object.filter(named);
        let mut services = self.services.borrow_mut();
        self.put_into(&mut services, coming, key, object, usable, unusable);
    }

    fn remove(&self, key: Option<Key>) {
        if let Some(key) = key {
            self.services.borrow_mut().put(false, key, None);
        }
    }
}

impl Keep<Slice> for Store {
    fn begin(&self) {
        self.slices.borrow_mut().begin();
    }

    fn end(&self) {
        let mut slices = self.slices.borrow_mut();
        if let Some(coming) = &slices.coming {
            let (old, new) = (slices.known.values(), coming.values());
            self.touch(
                old.flat_map(|s| &s.endpoints),
                new.flat_map(|s| &s.endpoints),
            );
        }
        slices.end();
    }

    fn put(&self, coming: bool, key: Option<Key>, mut object: Option<Slice>) {
        if let Some(slice) = &mut object {
            slice.endpoints.shrink_to_fit();
        }
        let unusable = object.as_ref().map_or(0, |o| o.unusable);
        let object = object.filter(|slice| !slice.endpoints.is_empty());
        let mut slices = self.slices.borrow_mut();
        if let Some(key) = key.as_ref().filter(|_| !coming) {
            self.replaced(&slices, key, object.as_ref());
        }
        // Slices without a Service, or of names outside the cluster, are usual.
        let object = object.map(Arc::new);
        self.put_into(&mut slices, coming, key, object, true, unusable);
    }

    fn remove(&self, key: Option<Key>) {
        if let Some(key) = key {
            let mut slices = self.slices.borrow_mut();
            self.replaced(&slices, &key, None);
            slices.put(false, key, None);
        }
    }
}

impl Store {
    /// Notes what changes when an EndpointSlice becomes another.
    fn replaced(&self, slices: &Listing<Arc<Slice>>, key: &Key, new: Option<&Slice>) {
        let old = slices.known.get(key).into_iter();
        let new = new.into_iter();
        self.touch(
            old.flat_map(|s| &s.endpoints),
            new.flat_map(|s| &s.endpoints),
        );
    }

    fn touch<'a>(
        &self,
        old: impl Iterator<Item = &'a Listed>,
        new: impl Iterator<Item = &'a Listed>,
    ) {
        tenants::touch(&mut self.touched.borrow_mut(), old, new, monotonic());
    }

    fn put_into<T: Size>(
        &self,
        into: &mut Listing<T>,
        coming: bool,
        key: Option<Key>,
        object: Option<T>,
        usable: bool,
        unusable: usize,
    ) {
        let Some(key) = key else {
            return self.health.leave_out(Left::Unusable);
        };
        for _ in 0..unusable + usize::from(!usable) {
            self.health.leave_out(Left::Unusable);
        }
        if !into.put(coming, key, object) {
            self.health.leave_out(T::LEFT);
        }
    }
}

#[cfg(test)]
mod tests;
