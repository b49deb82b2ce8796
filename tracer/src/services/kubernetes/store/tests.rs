use proptest::{collection::vec, prelude::*};

use super::*;
use crate::services::kubernetes::check::Check;

fn store() -> Store {
    Store::new(
        &"30000-32767".parse().unwrap(),
        HealthCheckGate::Auto,
        &Arc::default(),
    )
}

fn key(name: &str) -> Option<Key> {
    Some(("thrift".into(), name.into()))
}

fn service(ports: &[u16]) -> Option<Service> {
    let ports = ports.iter().map(|port| (*port, format!("p{port}").into()));
    Some(Service {
        ports: ports.collect(),
        health_check_node_port: None,
        addresses: Box::default(),
        check: Check::default(),
        unusable: 0,
    })
}

fn slice(service: &str, pods: &[(&str, &str)]) -> Option<Slice> {
    let pods = pods.iter().map(|(address, pod)| listed(address, pod));
    Some(Slice {
        service: service.into(),
        ports: vec![("p30101".into(), 9090)],
        endpoints: pods.collect(),
        unusable: 0,
    })
}

fn listed(address: &str, pod: &str) -> Listed {
    Listed {
        address: address.parse().unwrap(),
        pod: Some(pod.into()),
        node: None,
        ready: true,
        serving: true,
        terminating: false,
    }
}

fn left(store: &Store, what: Left) -> u64 {
    store
        .health
        .left_out()
        .find(|(left, _)| *left == what)
        .unwrap()
        .1
}

/// Lists Services, as a watch does.
fn list(store: &Store, services: &[(&str, &[u16])]) {
    Keep::<Service>::begin(store);
    for (name, ports) in services {
        store.put(true, key(name), service(ports));
    }
    Keep::<Service>::end(store);
}

#[test]
fn ports_are_renamed_reassigned_removed_and_made_again() {
    let store = store();
    let named = || store.table().service(30101);
    list(&store, &[("users", &[30101]), ("search", &[30102])]);
    assert_eq!(named().as_deref(), Some("thrift/users:p30101"));
    // Renamed: another Service takes the port after the old one has gone.
    Keep::<Service>::remove(&store, key("users"));
    assert_eq!(named(), None);
    store.put(false, key("accounts"), service(&[30101]));
    assert_eq!(named().as_deref(), Some("thrift/accounts:p30101"));
    // Reassigned: the port moves to a Service that is there already.
    store.put(false, key("accounts"), service(&[30103]));
    store.put(false, key("search"), service(&[30102, 30101]));
    assert_eq!(named().as_deref(), Some("thrift/search:p30101"));
    assert_eq!(store.table().ports().count(), 3);
    // No node port any more.
    store.put(false, key("search"), service(&[]));
    assert_eq!(store.table().ports().count(), 1);
}

#[test]
fn a_list_takes_the_place_of_all_once_it_is_complete() {
    let store = store();
    list(&store, &[("users", &[30101])]);
    Keep::<Service>::begin(&store);
    store.put(true, key("search"), service(&[30102]));
    assert!(store.table().service(30101).is_some());
    assert!(store.table().service(30102).is_none());
    // It broke off: the next begins anew.
    Keep::<Service>::begin(&store);
    store.put(true, key("feed"), service(&[30103]));
    Keep::<Service>::end(&store);
    let ports: Vec<u16> = store.table().ports().map(|(port, _)| port).collect();
    assert_eq!(ports, [30103]);
}

#[test]
fn pods_are_named_for_services_with_node_ports_alone() {
    let store = store();
    list(&store, &[("users", &[30101])]);
    store.put(
        false,
        key("users-x"),
        slice("users", &[("10.0.0.1", "users-0")]),
    );
    store.put(false, key("dns-x"), slice("dns", &[("10.0.0.2", "dns-0")]));
    let pod = |address: &str| store.table().pod(address.parse().unwrap());
    assert_eq!(pod("10.0.0.1").as_deref(), Some("thrift/users-0"));
    assert_eq!(pod("10.0.0.2"), None);
    store.put(
        false,
        key("users-x"),
        slice("users", &[("10.0.0.3", "users-1")]),
    );
    assert_eq!(
        (pod("10.0.0.1"), pod("10.0.0.3")),
        (None, Some("thrift/users-1".to_owned()))
    );
    store.put(false, key("users-x"), slice("users", &[]));
    assert_eq!(pod("10.0.0.3"), None);
}

#[test]
fn the_port_of_health_checks_has_a_name_too() {
    let store = store();
    let mut local = service(&[30101]).unwrap();
    local.health_check_node_port = Some(32000);
    store.put(false, key("users"), Some(local.clone()));
    let table = store.table();
    assert_eq!(
        table.service(32000).as_deref(),
        Some("thrift/users:healthCheckNodePort")
    );
    local.health_check_node_port = Some(80);
    store.put(false, key("users"), Some(local));
    assert_eq!(store.table().ports().count(), 1);
}

#[test]
fn of_two_with_the_same_port_the_first_by_name_has_it() {
    let store = store();
    list(&store, &[("b", &[30101]), ("a", &[30101])]);
    assert_eq!(
        store.table().service(30101).as_deref(),
        Some("thrift/a:p30101")
    );
}

#[test]
fn there_is_room_for_so_many() {
    let store = store();
    let names: Vec<String> = (0..SERVICES + 5).map(|i| format!("s{i:05}")).collect();
    for name in &names {
        store.put(false, key(name), service(&[30101]));
        // Those without a node port take no room.
        store.put(false, key(&format!("{name}-internal")), service(&[]));
    }
    assert_eq!(store.services.borrow().known.len(), SERVICES);
    assert_eq!(left(&store, Left::Services), 5);
    // One goes, another comes.
    Keep::<Service>::remove(&store, key(&names[0]));
    store.put(false, key(&names[SERVICES]), service(&[30102]));
    assert!(store.table().service(30102).is_some());

    let pods = vec![("10.0.0.1", "p"); ENDPOINTS];
    store.put(false, key("large"), slice("s00001", &pods));
    store.put(false, key("more"), slice("s00001", &[("10.0.0.2", "q")]));
    assert_eq!(left(&store, Left::Endpoints), 1);
    assert_eq!(store.table().pod("10.0.0.2".parse().unwrap()), None);
}

#[test]
fn what_cannot_be_is_counted() {
    let store = store();
    store.put(false, None, service(&[30101]));
    Keep::<Service>::put(&store, false, key("users"), None);
    let mut partly = service(&[30101]).unwrap();
    partly.unusable = 3;
    store.put(false, key("users"), Some(partly));
    assert_eq!(left(&store, Left::Unusable), 5);
    assert!(store.table().service(30101).is_some());
}

#[test]
fn endpoints_are_known_once_both_lists_are_complete() {
    let store = store();
    let address = "10.0.0.1".parse().unwrap();
    list(&store, &[("users", &[30101, 30102])]);
    let users = slice("users", &[("10.0.0.1", "users-0")]);
    store.put(false, key("users-x"), users.clone());
    assert!(store.table().endpoints(30101).is_none());
    Keep::<Slice>::begin(&store);
    store.put(true, key("users-x"), users);
    Keep::<Slice>::end(&store);
    let table = store.table();
    let (at, endpoint) = table.endpoints(30101).unwrap().endpoints().next().unwrap();
    assert_eq!(at.to_string(), "10.0.0.1:9090");
    assert_eq!(endpoint.pod.as_deref(), Some("users-0"));
    // Its port has another name.
    assert_eq!(table.endpoints(30102).unwrap().endpoints().count(), 0);
    assert!(table.endpoints(30103).is_none());
    // It was there before anybody looked.
    assert_eq!(table.holder_at(address, 0).unwrap().from, 0);
}

#[test]
fn a_pod_has_a_history() {
    let store = store();
    let address = "10.0.0.1".parse().unwrap();
    list(&store, &[("users", &[30101])]);
    Keep::<Slice>::begin(&store);
    Keep::<Slice>::end(&store);
    store.table();
    store.put(
        false,
        key("users-x"),
        slice("users", &[("10.0.0.1", "users-0")]),
    );
    store.table();
    let mut going = slice("users", &[("10.0.0.1", "users-0")]).unwrap();
    going.endpoints[0].ready = false;
    going.endpoints[0].terminating = true;
    store.put(false, key("users-x"), Some(going));
    // A list that breaks off is no end.
    Keep::<Slice>::begin(&store);
    assert_eq!(store.table().tenants().of(address)[0].until, None);
    // Gone within the time in which a table is made once.
    Keep::<Slice>::remove(&store, key("users-x"));
    store.put(
        false,
        key("users-y"),
        slice("users", &[("10.0.0.1", "users-1")]),
    );
    let table = store.table();
    let [old, new] = table.tenants().of(address) else {
        panic!("{:?}", table.tenants().of(address));
    };
    assert_eq!((&*old.pod.name, &*new.pod.name), ("users-0", "users-1"));
    let times = [
        Some(old.from),
        old.terminating_since,
        old.until,
        Some(new.from),
    ];
    assert!(times.is_sorted() && !times.contains(&None), "{times:?}");
    assert_eq!(old.deleted_at(), old.until);
    assert_eq!(
        table.pod_then(address, old.from).unwrap().name,
        "users-0".into()
    );
    assert_eq!(
        table.pod_then(address, u64::MAX).unwrap().name,
        "users-1".into()
    );
    assert_eq!(table.pod_then(address, 0), None);
}

proptest! {
    #[test]
    fn what_is_taken_is_what_is_there(
        steps in vec((0_u8..4, 0_u8..6, vec(30_000_u16..30_010, 0..4)), 0..60)
    ) {
        let store = store();
        for (what, name, ports) in steps {
            let name = key(&format!("s{name}"));
            match what {
                0 => Keep::<Service>::begin(&store),
                1 => Keep::<Service>::end(&store),
                2 => Keep::<Service>::remove(&store, name),
                _ => store.put(ports.len() % 2 == 0, name, service(&ports)),
            }
            let services = store.services.borrow();
            prop_assert_eq!(services.taken[0], services.known.len());
            let coming = services.coming.as_ref().map_or(0, BTreeMap::len);
            prop_assert!(services.coming.is_none() || services.taken[1] == coming);
        }
        for (port, service) in store.table().ports() {
            prop_assert_eq!(&*service.port_name, format!("p{port}"));
        }
    }
}
