use super::*;

fn port(name: &str) -> Port {
    Port {
        name: name.to_owned(),
        is_up: true,
        kind: String::new(),
        master: None,
        translates: false,
        mac: None,
        xdp: None,
    }
}

fn view() -> View {
    View {
        mode: "tcx",
        programs: vec![41, 42],
        interfaces: [(2, "eth0".to_owned())].into(),
        tapped: 1,
        addresses: 2,
    }
}

const ADDRESSES: [(u32, IpAddr); 2] = [
    (1, IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
    (2, IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))),
];

fn texts(all: &[Obstacle]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plain_node_has_no_obstacle() {
    let ports = [(1, port("lo")), (2, port("eth0"))].into();
    assert_eq!(in_front(&view(), &ports, None, true), []);
    assert_eq!(unwatched(&view(), &ports, &ADDRESSES), []);
    assert_eq!(ahead("eth0", &[41], &[41, 42]).count(), 0);
}

#[test]
fn programs_before_the_tap_are_named() {
    let mut eth0 = port("eth0");
    eth0.xdp = Some(7);
    let ports = [(2, eth0)].into();
    let found = in_front(&view(), &ports, None, false);
    let said = "An XDP program (id 7) on eth0 takes packets before the tap does.";
    assert_eq!(texts(&found), [said]);
    let found: Vec<Obstacle> = ahead("eth0", &[9, 8, 41, 10], &[41, 42]).collect();
    let program = |id| Obstacle::Program("eth0".to_owned(), id);
    assert_eq!(found, [program(9), program(8)]);
    // Another has taken ours out, or it is another process's.
    assert_eq!(ahead("eth0", &[9], &[41]).count(), 1);
}

#[test]
fn a_bridge_translates_what_comes_in_by_an_uplink() {
    let bridge = Port {
        kind: "bridge".to_owned(),
        ..port("br0")
    };
    let member = |name: &str, kind: &str| Port {
        master: Some(2),
        kind: kind.to_owned(),
        ..port(name)
    };
    let view = View {
        interfaces: [(2, "br0".to_owned())].into(),
        ..view()
    };
    let ports: BTreeMap<u32, Port> = [
        (2, bridge),
        (3, member("eth0", "")),
        (4, member("veth1", "veth")),
    ]
    .into();
    let found = |uplinks: &[&str], on: bool, view: &View| {
        let uplinks = uplinks.iter().map(|name| (*name).to_owned()).collect();
        in_front(view, &ports, Some(&uplinks), on)
    };
    let of = |port: &str| Obstacle::Bridge {
        port: port.to_owned(),
        bridge: "br0".to_owned(),
    };
    assert_eq!(found(&[], true, &view), [of("eth0")]);
    assert_eq!(found(&["br0"], true, &view), [of("eth0"), of("veth1")]);
    assert_eq!(found(&["br0"], false, &view), []);
    let mut tapped = view.clone();
    tapped.interfaces.insert(3, "eth0".to_owned());
    assert_eq!(found(&[], true, &tapped), [], "its port is tapped itself");
    // The bridge holds the address: whoever taps all of its ports sees what it sees.
    let held = [(2, IpAddr::from([10, 0, 0, 1]))];
    tapped.interfaces.remove(&2);
    let bare = |view: &View| {
        unwatched(view, &ports, &held).contains(&Obstacle::Untapped(vec!["br0".to_owned()]))
    };
    assert!(bare(&tapped));
    tapped.interfaces.insert(4, "veth1".to_owned());
    assert!(!bare(&tapped));
}

#[test]
fn what_nobody_looks_at_is_told() {
    let ports = [(2, port("eth0")), (3, port("eth1"))].into();
    let mut addresses = ADDRESSES.to_vec();
    addresses.push((3, IpAddr::from([10, 0, 1, 1])));
    let mut view = view();
    view.tapped = 0;
    let said = texts(&unwatched(&view, &ports, &addresses));
    assert_eq!(
        said,
        [
            "Interfaces with an address of this node that are not tapped: eth1 (see --interface).",
            "1 interface could not be tapped; the daemon's log says why.",
            "1 of this node's addresses are not watched: the table of addresses is full.",
        ]
    );
}

#[test]
fn default_routes_are_read() {
    let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
              br0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
              eth1\t0000000A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    let zero = "0".repeat(32);
    let v6 = format!(
        "{zero} 00 {zero} 00 fe80 00000400 00000001 00000000 00000003 eth2\n\
         {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
    );
    let found = default_of(v4, &v6);
    assert_eq!(Vec::from_iter(found), ["br0", "eth2"]);
}
