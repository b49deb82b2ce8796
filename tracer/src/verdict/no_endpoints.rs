//! What kube-proxy rejects or drops for want of endpoints, or by a Service's source ranges
//! (failures A1, A4).

use super::{
    Verdict, case::Case, commands, culprit::Culprit, no_rule::served_elsewhere, opinion::Opinion,
    rules,
};
use crate::evidence::VirtualServer;

/// A1.
pub(super) fn no_endpoints(case: &Case<'_>, rule: Option<&Culprit>) -> Opinion {
    let show = case.show_service();
    let endpoints = commands::endpoints(&case.evidence.names, case.port());
    let fact = match rule {
        Some(culprit) => format!(
            "{} It is the one that kube-proxy makes for a Service without ready endpoints, and it \
             answers port unreachable.",
            culprit.sentence("took the SYN")
        ),
        None => {
            let noted = case
                .cause()
                .map_or_else(String::new, |_| format!(" ({})", case.noted()));
            if let Some(server) = case.virtual_server() {
                return ipvs_without_backends(server, &show, &endpoints);
            }
            format!(
                "A REJECT rule took the SYN{noted} before any backend was chosen, and answered \
                 port unreachable, as kube-proxy does for a Service without endpoints."
            )
        }
    };
    let mend = match served_elsewhere(case) {
        (false, true) => {
            "the other IP family has endpoints: see the Service's spec.ipFamilies, and whether its \
             pods have addresses of both families"
        }
        _ => "mend the selector, the readiness probe or the replicas",
    };
    Opinion::certain(
        Verdict::NoEndpoints,
        fact,
        "A pod that does not listen would have sent a RST; here no SYN reached any pod.",
        format!("{show} names the Service; {endpoints} shows whether a pod is ready: {mend}."),
    )
}

/// The same in kube-proxy's ipvs mode, where IPVS itself sends the ICMP.
fn ipvs_without_backends(server: &VirtualServer, show: &str, endpoints: &str) -> Opinion {
    Opinion::certain(
        Verdict::NoEndpoints,
        format!(
            "IPVS has the virtual server {}, and no real server behind it that takes new \
             connections: it answers port unreachable.",
            server.address
        ),
        "A pod that does not listen would have sent a RST; here no SYN reached any pod.",
        format!(
            "`ipvsadm -Ln` on this node shows it; {show} names the Service, and {endpoints} shows \
             whether a pod is ready: mend the selector, the readiness probe or the replicas."
        ),
    )
}

/// kube-proxy drops what is outside of a Service's source ranges. Before 1.27 it marks
/// that and what finds no local endpoint, and one rule drops all that is marked.
pub(super) fn by_source_range(case: &Case<'_>, culprit: &Culprit) -> Opinion {
    let marked = culprit.is_of_marked();
    let (what, also) = if marked {
        (
            "It drops what is marked: what is outside of a Service's loadBalancerSourceRanges, or \
             finds no endpoint on this node; others were served at this port.",
            "; a rule of somebody else's may set the mark, too: `iptables-save | grep 0x8000`",
        )
    } else {
        (culprit.of_source_ranges(), "")
    };
    Opinion::certain(
        Verdict::DroppedByRule,
        format!("{} {what}", culprit.sentence("dropped the SYN")),
        "No pod, queue or route is to blame: the SYN was not sent on to any.",
        format!(
            "{}: compare its spec.loadBalancerSourceRanges with the clients{also}.",
            case.show_service()
        ),
    )
    .certain_if(culprit.sure && !marked)
}

/// A4.
pub(super) fn no_local_endpoint(case: &Case<'_>, rule: Option<&Culprit>) -> Opinion {
    let show = case.show_service();
    let fact = match rule {
        Some(culprit) => format!(
            "{} kube-proxy makes it for a Service whose externalTrafficPolicy is Local and which \
             has no ready endpoint on this node.",
            culprit.sentence("dropped the SYN")
        ),
        None => format!(
            "A netfilter rule dropped the SYN before any backend was chosen: {}.",
            case.noted()
        ),
    };
    let otherwise = if rule.is_some() {
        String::new()
    } else {
        format!(
            "; otherwise a firewall rule does it: {}",
            rules::find(case, "drop")
        )
    };
    Opinion::certain(
        Verdict::NoLocalEndpoint,
        fact,
        "No pod, queue or route is to blame: the SYN was never sent on.",
        format!(
            "{show}: with externalTrafficPolicy: Local and no ready pod on this node kube-proxy \
             drops so, and the load balancer has to check healthCheckNodePort{otherwise}."
        ),
    )
}
