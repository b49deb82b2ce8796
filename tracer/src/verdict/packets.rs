//! What refusals mean when nothing is known but packets: no counter and no note
//! of the kernel's tells apart what answers alike.

use tracer_common::failure::{Failure, Reply};

use super::{
    Verdict,
    case::Case,
    opinion::Opinion,
    service::{is_port_unreachable, is_prohibited},
};

pub(super) fn opinion(case: &Case<'_>) -> Option<Opinion> {
    if !case.has_packets_only() {
        return None;
    }
    let told = match (case.failure(), case.row.reply) {
        (Failure::Refused, Reply::NodeRst) => reset(case),
        (Failure::Unreachable, _) if is_prohibited(case.row) => prohibited(case),
        (Failure::Unreachable, _) if !is_port_unreachable(case.row) => no_way(),
        _ => return None,
    };
    Some(told.certain_if(false))
}

fn reset(case: &Case<'_>) -> Opinion {
    let show = case.show_service();
    Opinion::certain(
        Verdict::NoServiceRule,
        "The RST has the hop count that it starts with: the node made it, as it does where no \
         rule leads a SYN to a pod.",
        "No pod sent it; a REJECT rule with tcp-reset on the node looks the same in a capture.",
        format!(
            "{show}: if a Service has this node port, look whether \
             kube-proxy runs on the node; `tracer explain` there tells a REJECT rule apart."
        ),
    )
}

fn prohibited(case: &Case<'_>) -> Opinion {
    let port = case.port();
    Opinion::certain(
        Verdict::RejectedByRule,
        format!(
            "The ICMP says that it is prohibited (code {}).",
            case.row.code
        ),
        "A route of type prohibit answers in the same way.",
        format!(
            "Find the rule: `iptables-save | grep -e REJECT` and `nft list ruleset | grep -n \
             reject`; see which one matches port {port}, and `ip route show type prohibit`."
        ),
    )
}

fn no_way() -> Opinion {
    Opinion::certain(
        Verdict::BackendUnreachable,
        "The ICMP says so: the SYN found no way to the pod.",
        "No server refused it; whether a route or a neighbour is missing does not show in a \
         capture.",
        "Run `tracer explain` on the node: it names the backend, its route and its neighbour.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::{Absent, Evidence, PACKETS_ONLY, Row},
        verdict::{Certainty, of_row},
    };

    fn verdict(failure: Failure, reply: Reply, code: u8, absent: &'static str) -> Verdict {
        let row = Row {
            code,
            ..Row::new(30_080, failure, reply)
        };
        let evidence = Evidence {
            rows: vec![row.clone()],
            absent: vec![Absent::new(absent, String::new())],
            ..Evidence::default()
        };
        let (verdict, certainty) = of_row(&row, &evidence);
        assert_eq!(certainty, Certainty::Likely, "{verdict:?}");
        verdict
    }

    #[test]
    fn refusals_are_told_apart_by_what_the_client_got() {
        let of = |failure, reply, code| verdict(failure, reply, code, PACKETS_ONLY);
        let (refused, unreachable) = (Failure::Refused, Failure::Unreachable);
        for (failure, reply, code, expected) in [
            (refused, Reply::NodeRst, 0, Verdict::NoServiceRule),
            (refused, Reply::BackendRst, 0, Verdict::NothingListens),
            (unreachable, Reply::Icmp, 1, Verdict::BackendUnreachable),
            (unreachable, Reply::Icmp, 3, Verdict::NoEndpoints),
            (unreachable, Reply::Icmpv6, 4, Verdict::NoEndpoints),
            (unreachable, Reply::Icmp, 13, Verdict::RejectedByRule),
            (unreachable, Reply::Icmpv6, 1, Verdict::RejectedByRule),
        ] {
            assert_eq!(of(failure, reply, code), expected, "{reply:?} {code}");
        }
        // Where counters are known they decide.
        let known = verdict(refused, Reply::NodeRst, 0, "conntrack");
        assert_eq!(known, Verdict::RejectedByRule);
    }
}
