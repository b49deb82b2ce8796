//! kube-proxy's nftables mode: input for `nft -f`.

use std::{fmt::Write as _, net::SocketAddr};

use super::{Family, Rendered, ServicePort};
use crate::addr::{NODE_V4, NODE_V6};

/// The table `kube-proxy` for the Services of one family, in place of an
/// earlier one.
pub(super) fn ruleset(ports: &[ServicePort], family: Family) -> String {
    let services = Rendered::all(ports, family);
    let (ip, node) = match family {
        Family::V4 => ("ip", NODE_V4.to_string()),
        Family::V6 => ("ip6", NODE_V6.to_string()),
    };
    let mut text = format!(
        "add table {ip} kube-proxy\ndelete table {ip} kube-proxy\ntable {ip} kube-proxy {{\n"
    );
    text.push_str(&sets(&services, ip, &node));
    text.push_str(
        &BASE
            .replace("IP", ip)
            .replace("CIDR", family.cluster_cidr()),
    );
    for service in served(&services) {
        text.push_str(&service_chains(service, ip, family));
    }
    text.push_str("}\n");
    text
}

/// A set or map; nft refuses an empty element list.
fn set(kind: &str, name: &str, of: &str, elements: &[String]) -> String {
    let elements = if elements.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}\n", elements.join(", "))
    };
    format!("{kind} {name} {{\ntype {of}\n{elements}}}\n")
}

fn sets(services: &[Rendered<'_>], ip: &str, node: &str) -> String {
    let addr = if ip == "ip" { "ipv4_addr" } else { "ipv6_addr" };
    let cluster_ips: Vec<String> = services.iter().map(|s| s.cluster_ip.clone()).collect();
    let tuple = format!("{addr} . {addr} . inet_proto . inet_service");
    [
        set("set", "hairpin-connections", &tuple, &hairpins(services)),
        set("set", "cluster-ips", addr, &cluster_ips),
        set("set", "nodeport-ips", addr, &[node.to_owned()]),
        verdict_maps(services, addr),
        // The verdict maps name this chain: it has to come with them.
        "chain reject-chain {\nreject\n}\n".to_owned(),
    ]
    .concat()
}

/// Services with endpoints.
fn served<'a, 'b>(services: &'a [Rendered<'b>]) -> impl Iterator<Item = &'a Rendered<'b>> {
    services.iter().filter(|s| !s.endpoints.is_empty())
}

fn hairpins(services: &[Rendered<'_>]) -> Vec<String> {
    let mut tuples: Vec<String> = served(services)
        .flat_map(|s| &s.local)
        .map(|e| format!("{0} . {0} . tcp . {1}", e.ip(), e.port()))
        .collect();
    tuples.sort();
    tuples.dedup();
    tuples
}

fn verdict_maps(services: &[Rendered<'_>], addr: &str) -> String {
    let portal = format!("{addr} . inet_proto . inet_service : verdict");
    let node_port = "inet_proto . inet_service : verdict";
    let without: Vec<String> = services
        .iter()
        .filter(|s| s.endpoints.is_empty())
        .map(|s| format!("{} . tcp . 9090 : goto reject-chain", s.cluster_ip))
        .collect();
    let service_ips: Vec<String> = served(services)
        .map(|s| {
            format!(
                "{} . tcp . 9090 : goto {}",
                s.cluster_ip,
                chain("service", s)
            )
        })
        .collect();
    let node_ports: Vec<String> = served(services)
        .map(|s| format!("tcp . {} : goto {}", s.port.node_port, chain("external", s)))
        .collect();
    let refused: Vec<String> = services.iter().filter_map(refusal).collect();
    [
        set("map", "no-endpoint-services", &portal, &without),
        set("map", "no-endpoint-nodeports", node_port, &refused),
        set("map", "service-ips", &portal, &service_ips),
        set("map", "service-nodeports", node_port, &node_ports),
    ]
    .concat()
}

/// The map element of a NodePort that has nowhere to go.
fn refusal(service: &Rendered<'_>) -> Option<String> {
    let verdict = match (service.endpoints.is_empty(), service.lacks_local()) {
        (true, _) => "goto reject-chain",
        (false, true) => "drop",
        (false, false) => return None,
    };
    let (port, name) = (service.port.node_port, &service.port.name);
    Some(format!("tcp . {port} comment \"{name}\" : {verdict}"))
}

/// The chains that do not depend on the Services.
const BASE: &str = "\
chain filter-input {
    type filter hook input priority filter; policy accept;
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
}
chain filter-forward {
    type filter hook forward priority filter; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
}
chain filter-output {
    type filter hook output priority filter; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
}
chain nat-prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump services
}
chain nat-output {
    type nat hook output priority -100; policy accept;
    jump services
}
chain nat-postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
}
chain nodeport-endpoints-check {
    IP daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
}
chain service-endpoints-check {
    IP daddr . meta l4proto . th dport vmap @no-endpoint-services
}
chain services {
    IP daddr @cluster-ips IP saddr != CIDR meta mark set meta mark | 0x00004000
    IP daddr . meta l4proto . th dport vmap @service-ips
    IP daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}
chain masquerading {
    meta mark & 0x00004000 != 0 meta mark set meta mark ^ 0x00004000 masquerade fully-random
    ct status dnat IP saddr . IP daddr . meta l4proto . th dport @hairpin-connections \
masquerade fully-random
}
chain cluster-ips-check {
    IP daddr @cluster-ips reject
}
";

fn service_chains(service: &Rendered<'_>, ip: &str, family: Family) -> String {
    let all = chain("service", service);
    let mut text = balance(&all, ip, &service.endpoints);
    let _ = writeln!(text, "chain {} {{", chain("external", service));
    if service.is_local_policy() {
        let _ = write!(
            text,
            "{ip} saddr {cidr} goto {all}\n\
             fib saddr type local meta mark set meta mark | 0x00004000\n\
             fib saddr type local goto {all}\n",
            cidr = family.cluster_cidr()
        );
        if !service.local.is_empty() {
            let _ = writeln!(text, "goto {}", chain("local", service));
        }
    } else {
        let _ = write!(text, "meta mark set meta mark | 0x00004000\ngoto {all}\n");
    }
    text.push_str("}\n");
    if service.is_local_policy() && !service.local.is_empty() {
        text = balance(&chain("local", service), ip, &service.local) + &text;
    }
    text
}

fn balance(name: &str, ip: &str, endpoints: &[SocketAddr]) -> String {
    let targets: Vec<String> = endpoints
        .iter()
        .enumerate()
        .map(|(i, e)| format!("{i} : {} . {}", e.ip(), e.port()))
        .collect();
    format!(
        "chain {name} {{\nmeta l4proto tcp dnat {ip} to numgen random mod {} map {{ {} }}\n}}\n",
        targets.len(),
        targets.join(", ")
    )
}

/// `service-HASH-namespace/service/tcp/port`.
fn chain(kind: &str, service: &Rendered<'_>) -> String {
    let path = service.port.name.replace(':', "/tcp/");
    format!("{kind}-{}-{path}", service.port.hash("", 8))
}
