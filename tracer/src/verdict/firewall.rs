//! Rules that are not kube-proxy's: they reject or drop, before or after DNAT (failures
//! A1r, D1, F6).

use tracer_common::failure::Reply;

use super::{
    Verdict,
    case::Case,
    culprit::Culprit,
    opinion::Opinion,
    rules::{self, Told},
};

/// A rule answers with RST or ICMP; `with` is the answer. That a rule did it is certain as
/// far as its callers know; which one, as far as the rule sets tell.
pub(super) fn rejected(case: &Case<'_>, with: &str, told: &Told) -> Opinion {
    let to = match case.chosen() {
        Some(target) => target.to_string(),
        None => format!("port {}", case.port()),
    };
    let fact = match &told.culprit {
        Some(culprit) => format!(
            "{} It answered with {with}.",
            culprit.sentence("took the SYN")
        ),
        None if case.cause().is_some() => format!(
            "A netfilter rule{} took the SYN ({}) and answered with {with}; the TCP stack never \
             saw it.",
            of_the_pod(case),
            case.noted()
        ),
        None if matches!(case.row.reply, Reply::Icmp | Reply::Icmpv6) => format!(
            "{} had been chosen when a rule, here or beyond this node, answered with {with}.",
            case.target()
        ),
        None => format!(
            "The node's TCP stack did not make it (Tcp OutRsts rose by {}, no RST of its own is \
             noted here): a netfilter rule took the SYN and answered with {with}.",
            case.evidence.node.out_rsts
        ),
    };
    let next = match &told.culprit {
        Some(culprit) => culprit.next(&format!("and mend it so that SYNs to {to} pass.")),
        None if is_the_pods(case) => searched_in_the_pod(case),
        None => format!(
            "Find the rule: {}; see which one matches {to}.",
            rules::find(case, "reject")
        ),
    };
    Opinion::certain(
        Verdict::RejectedByRule,
        fact,
        "No socket refused it, neither the pod's nor the node's.",
        next,
    )
}

/// A rule drops SYNs. That one of them did is for the caller to decide; which one may be
/// open all the same.
pub(super) fn dropped(case: &Case<'_>, told: &Told) -> Opinion {
    let next = match &told.culprit {
        Some(culprit) => shown(case, culprit),
        None => searched(case),
    };
    let excludes = match case.chosen() {
        Some(_) => "The Service has endpoints and rules here, and the server was not asked.",
        None if case.is_late() => {
            "No pod, queue or route is to blame: a SYN that was sent again was answered."
        }
        None => "No pod, queue or route is to blame: the SYN was not sent on to any.",
    };
    let opinion = Opinion::certain(Verdict::DroppedByRule, fact(case, told), excludes, next);
    if case.is_late() {
        opinion
    } else {
        opinion.at(case)
    }
}

fn fact(case: &Case<'_>, told: &Told) -> String {
    let noted = if case.cause().is_some() {
        format!(" ({})", case.noted())
    } else {
        String::new()
    };
    let chosen = case.chosen().map(|address| address.to_string());
    match (&told.culprit, chosen) {
        (Some(culprit), Some(target)) => format!(
            "{} {target} had been chosen by then{noted}.",
            culprit.sentence("took the SYN")
        ),
        (Some(culprit), None) if case.is_late() => format!(
            "{} Not every SYN of a client was dropped{noted}.",
            culprit.sentence("took the SYN")
        ),
        (Some(culprit), None) => format!(
            "{} No backend had been chosen by then{noted}.",
            culprit.sentence("took the SYN")
        ),
        (None, Some(target)) if noted.is_empty() => {
            format!("A netfilter rule dropped it, here or in the pod, after {target} was chosen.")
        }
        (None, Some(target)) => {
            let whose = of_the_pod(case);
            format!("A netfilter rule{whose} dropped it after {target} had been chosen{noted}.")
        }
        (None, None) => {
            format!("A netfilter rule dropped the SYN before any backend was chosen{noted}.")
        }
    }
}

fn shown(case: &Case<'_>, culprit: &Culprit) -> String {
    match case.chosen() {
        Some(_) => culprit.next(&format!(
            "and find who wrote it: a network policy (`kubectl get networkpolicy -A` for the pod \
             with {}), or a host firewall.",
            case.ip()
        )),
        None => culprit.next(
            "and find who wrote it: a host firewall, a network policy for the node, fail2ban.",
        ),
    }
}

fn searched(case: &Case<'_>) -> String {
    let find = rules::find(case, "drop");
    match case.chosen() {
        Some(_) if is_the_pods(case) => searched_in_the_pod(case),
        Some(_) => format!(
            "`kubectl get networkpolicy -A` for the pod with {}; then the rules of this node and \
             of the pod: {find} (FORWARD's policy too).",
            case.ip()
        ),
        None => format!("Find the rule on this node: {find}; its counter rises while they fail."),
    }
}

/// It was seen in the namespace of the pod that the backend is.
fn is_the_pods(case: &Case<'_>) -> bool {
    case.row.netns != 0 && case.pod().is_some()
}

fn of_the_pod(case: &Case<'_>) -> &'static str {
    if is_the_pods(case) {
        " in the pod's own namespace"
    } else {
        ""
    }
}

/// How to find a rule in the pod's namespace.
fn searched_in_the_pod(case: &Case<'_>) -> String {
    let entry = case.pod().and_then(|pod| pod.entry.as_deref());
    let entry = entry.map_or_else(
        || "/proc/PID/ns/net".into(),
        |path| path.display().to_string(),
    );
    format!(
        "See the rules of the pod with {ip}: `nsenter --net={entry} iptables-save -c` and `nsenter \
         --net={entry} nft -a list ruleset`; a sidecar, an init container or a network policy \
         (`kubectl get networkpolicy -A`) made them.",
        ip = case.ip()
    )
}
