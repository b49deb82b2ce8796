//! kube-proxy's iptables mode: input for `iptables-restore`.

use std::{fmt::Write as _, net::SocketAddr};

use super::{Family, Rendered, ServicePort, target};

const NEW: &str = "-m conntrack --ctstate NEW";
const PORTALS: &str = "-m comment --comment \"kubernetes service portals\"";
const EXTERNAL: &str = "-m comment --comment \"kubernetes externally-visible service portals\"";

/// The `filter` and `nat` tables for the Services of one family.
pub(super) fn ruleset(ports: &[ServicePort], family: Family) -> String {
    let services = Rendered::all(ports, family);
    let mut text = filter(&services, family);
    text.push_str(&nat(&services, family));
    text
}

fn filter(services: &[Rendered<'_>], family: Family) -> String {
    let mut text = String::from("*filter\n");
    for hook in ["INPUT", "FORWARD", "OUTPUT"] {
        let _ = writeln!(text, ":{hook} ACCEPT [0:0]");
    }
    for chain in [
        "EXTERNAL-SERVICES",
        "FIREWALL",
        "FORWARD",
        "NODEPORTS",
        "SERVICES",
    ] {
        let _ = writeln!(text, ":KUBE-{chain} - [0:0]");
    }
    let _ = write!(
        text,
        "-A INPUT -j KUBE-FIREWALL\n\
         -A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS\n\
         -A INPUT {NEW} {EXTERNAL} -j KUBE-EXTERNAL-SERVICES\n\
         -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
         -A FORWARD {NEW} {PORTALS} -j KUBE-SERVICES\n\
         -A FORWARD {NEW} {EXTERNAL} -j KUBE-EXTERNAL-SERVICES\n\
         -A OUTPUT -j KUBE-FIREWALL\n\
         -A OUTPUT {NEW} {PORTALS} -j KUBE-SERVICES\n"
    );
    let reject = match family {
        Family::V4 => "REJECT --reject-with icmp-port-unreachable",
        Family::V6 => "REJECT --reject-with icmp6-port-unreachable",
    };
    for service in services {
        let (name, port) = (&service.port.name, service.port.node_port);
        let bits = family.host_bits();
        let node_port = |why: &str, verdict: &str| {
            format!(
                "-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment \"{name} has no {why}\" \
                 -m addrtype --dst-type LOCAL -m tcp --dport {port} -j {verdict}\n"
            )
        };
        if service.endpoints.is_empty() {
            text.push_str(&node_port("endpoints", reject));
            let _ = writeln!(
                text,
                "-A KUBE-SERVICES -d {}/{bits} -p tcp -m comment --comment \
                 \"{name} has no endpoints\" -m tcp --dport 9090 -j {reject}",
                service.cluster_ip
            );
        } else if service.lacks_local() {
            text.push_str(&node_port("local endpoints", "DROP"));
        }
    }
    if family == Family::V4 {
        text.push_str(
            "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \
             \"block incoming localnet connections\" -m conntrack \
             ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n",
        );
    }
    text.push_str(
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark \
         0x4000/0x4000 -j ACCEPT\n\
         -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" \
         -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n",
    );
    text
}

/// Chain declarations have to come before the rules.
#[derive(Default)]
struct Nat {
    chains: String,
    rules: String,
}

impl Nat {
    fn chain(&mut self, name: &str) {
        let _ = writeln!(self.chains, ":{name} - [0:0]");
    }

    fn rule(&mut self, rule: &str) {
        let _ = writeln!(self.rules, "-A {rule}");
    }
}

fn nat(services: &[Rendered<'_>], family: Family) -> String {
    let mut nat = Nat::default();
    for hook in ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"] {
        let _ = writeln!(nat.chains, ":{hook} ACCEPT [0:0]");
    }
    for chain in ["MARK-MASQ", "NODEPORTS", "POSTROUTING", "SERVICES"] {
        nat.chain(&format!("KUBE-{chain}"));
    }
    for rule in [
        "PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
        "OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
        "POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING",
        "KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        "KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" \
         -j MASQUERADE --random-fully",
    ] {
        nat.rule(rule);
    }
    for service in services.iter().filter(|s| !s.endpoints.is_empty()) {
        service_chains(&mut nat, service, family);
    }
    nat.rule(
        "KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be \
         the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    );
    format!("*nat\n{}{}COMMIT\n", nat.chains, nat.rules)
}

fn service_chains(nat: &mut Nat, service: &Rendered<'_>, family: Family) {
    let hash = service.port.hash("", 16);
    let (name, node_port) = (&service.port.name, service.port.node_port);
    let (svc, ext) = (format!("KUBE-SVC-{hash}"), format!("KUBE-EXT-{hash}"));
    let portal = format!(
        "-d {}/{} -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 9090",
        service.cluster_ip,
        family.host_bits()
    );
    let cidr = family.cluster_cidr();
    nat.chain(&svc);
    nat.chain(&ext);
    nat.rule(&format!("KUBE-SERVICES {portal} -j {svc}"));
    nat.rule(&format!("{svc} ! -s {cidr} {portal} -j KUBE-MARK-MASQ"));
    nat.rule(&format!(
        "KUBE-NODEPORTS -p tcp -m comment --comment \"{name}\" -m tcp --dport {node_port} -j {ext}"
    ));
    if service.is_local_policy() {
        let local = "-m addrtype --src-type LOCAL";
        nat.rule(&format!("{ext} -s {cidr} -j {svc}"));
        nat.rule(&format!("{ext} {local} -j KUBE-MARK-MASQ"));
        nat.rule(&format!("{ext} {local} -j {svc}"));
        if !service.local.is_empty() {
            let svl = format!("KUBE-SVL-{hash}");
            nat.chain(&svl);
            nat.rule(&format!("{ext} -j {svl}"));
            spread(nat, service, &svl, &service.local);
        }
    } else {
        nat.rule(&format!(
            "{ext} -m comment --comment \"masquerade traffic for {name} external destinations\" \
             -j KUBE-MARK-MASQ"
        ));
        nat.rule(&format!("{ext} -j {svc}"));
    }
    spread(nat, service, &svc, &service.endpoints);
    for endpoint in &service.endpoints {
        let sep = endpoint_chain(service, *endpoint);
        nat.chain(&sep);
        nat.rule(&format!("{sep} -s {} -j KUBE-MARK-MASQ", endpoint.ip()));
        nat.rule(&format!(
            "{sep} -p tcp -m comment --comment \"{name}\" -m tcp -j DNAT --to-destination {}",
            target(*endpoint)
        ));
    }
}

/// Each endpoint with the same chance: 1/n, 1/(n-1), …, and the rest.
fn spread(nat: &mut Nat, service: &Rendered<'_>, chain: &str, endpoints: &[SocketAddr]) {
    for (i, endpoint) in endpoints.iter().enumerate() {
        let comment = format!("\"{} -> {}\"", service.port.name, target(*endpoint));
        let left = u32::try_from(endpoints.len() - i).unwrap_or(u32::MAX);
        let chance = if left > 1 {
            let p = 1.0 / f64::from(left);
            format!(" -m statistic --mode random --probability {p:.10}")
        } else {
            String::new()
        };
        let sep = endpoint_chain(service, *endpoint);
        nat.rule(&format!(
            "{chain} -m comment --comment {comment}{chance} -j {sep}"
        ));
    }
}

fn endpoint_chain(service: &Rendered<'_>, endpoint: SocketAddr) -> String {
    format!("KUBE-SEP-{}", service.port.hash(&target(endpoint), 16))
}
