//! This node has no rule for the port, or for this address of its own (failure A3).

use tracer_common::failure::seen;

use super::{Verdict, case::Case, culprit::Culprit, opinion::Opinion, rules};

/// A3. `rule`: the one that took the SYN in place of kube-proxy's, if any did.
pub(super) fn no_rule(case: &Case<'_>, rule: Option<&Culprit>) -> Opinion {
    Opinion::certain(
        Verdict::NoServiceRule,
        fact(case, rule),
        "The pods are not to blame: no SYN was sent to any.",
        next(case),
    )
}

fn fact(case: &Case<'_>, rule: Option<&Culprit>) -> String {
    let port = case.port();
    if let Some(culprit) = rule {
        format!(
            "No rule of this node leads port {port} to a pod. {}",
            culprit.sentence("took the SYN instead")
        )
    } else if case.seen(seen::RESET_CLIENT) {
        let reason = case.row.reset_reason.as_deref().unwrap_or("NO_SOCKET");
        let by_now = if rules::lead_on(case) {
            format!(
                " Rules lead port {port} to a pod by now: they came later, or a rule before them \
                 exempts these clients from NAT (NOTRACK in table raw, ACCEPT in table nat)."
            )
        } else {
            String::new()
        };
        format!(
            "The node's own TCP stack sent the RST ({reason}): no rule led the SYN to a \
             pod.{by_now}"
        )
    } else if case.cause().is_some() {
        format!(
            "The SYN ended in the node's own TCP stack: {}.",
            case.noted()
        )
    } else {
        format!(
            "The node made the RST, and its stack sent {} in this time (Tcp OutRsts); a REJECT \
             rule with tcp-reset is the other possibility.",
            case.evidence.node.out_rsts
        )
    }
}

fn next(case: &Case<'_>) -> String {
    let (port, show) = (case.port(), case.show_service());
    let here = match served_elsewhere(case) {
        _ if rules::lead_on(case) => {
            "If its pods are served to others, find the rule that exempts these clients: \
             `iptables-save | grep -e notrack -e ACCEPT` and `nft list ruleset` on this node; else \
             see why kube-proxy was late (its log)."
        }
        (true, _) => {
            "Other addresses of this node serve the port: see kube-proxy's --nodeport-addresses \
             (in nftables mode it serves the node's primary address alone), or have the load \
             balancer use an address that is served."
        }
        (false, true) => {
            "The other IP family serves the port: see the Service's spec.ipFamilies and \
             spec.ipFamilyPolicy, and whether kube-proxy runs for both families."
        }
        (false, false) => "",
    };
    if !here.is_empty() {
        return format!("{show}. {here}");
    }
    let servers = if case.is_ipvs() {
        "; `ipvsadm -Ln` on this node shows its virtual servers"
    } else {
        ""
    };
    format!(
        "{show}: if it has the node port {port}, kube-proxy on this node is down or behind \
         (`kubectl -n kube-system get pods -o wide | grep kube-proxy`, then its log{servers}); if \
         no Service has, take the port off the load balancer."
    )
}

/// Others were served at the same port and address: endpoints are here.
pub(super) fn serves_others(case: &Case<'_>) -> bool {
    let mut served = case.evidence.served.iter();
    served.any(|s| s.node_port == case.port() && Some(s.dialled) == case.row.dialled)
}

/// Addresses of this node at which the port was served, other than the one dialled:
/// whether there are any of the same family, and of the other.
pub(super) fn served_elsewhere(case: &Case<'_>) -> (bool, bool) {
    let Some(dialled) = case.row.dialled.filter(|_| !serves_others(case)) else {
        return (false, false);
    };
    let served = || {
        case.evidence
            .served
            .iter()
            .filter(|s| s.node_port == case.port())
    };
    let of = |same| served().any(|s| (s.dialled.is_ipv4() == dialled.is_ipv4()) == same);
    (of(true), of(false))
}
