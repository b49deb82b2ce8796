//! Failures of one interface, and what came in by others meanwhile.

use tracer_common::failure::{Failure::Unacked, seen};

use super::{
    super::{
        Certainty::{self, Certain, Likely},
        Scope,
        Verdict::{self, DroppedByRule, ReturnPath, RpFilter},
        judge, of_row,
    },
    bed::{Bed, CLIENT, Make as _, PORT, bed, pod, row, served, silent, stop},
    check,
};
use crate::evidence::{
    InterfaceName, Row, Served,
    rules::{Action, Matches, Owner, Stop},
};

/// Connections of the same client, by an interface; "": it is not known by which.
fn own(interface: &str) -> Served {
    Served {
        client: Some(CLIENT),
        interface: InterfaceName::new(interface),
        ..served(Some(pod()))
    }
}

/// The SYN-ACK was dropped.
fn lost() -> Row {
    let lost = row(Unacked).to(pod()).by("eth1");
    lost.drop(seen::DROPPED_SYN_ACK, "NETFILTER_DROP", "nft_do_chain")
        .from(CLIENT)
}

#[test]
fn only_what_may_have_come_by_the_same_interface_speaks_against_a_verdict() {
    let unknown = Row {
        interface: None,
        ..lost()
    };
    let filtered = || silent().by("eth1").from(CLIENT);
    check(&[
        (
            "lost answers by eth1, and the client is served by eth0",
            bed([lost().amid(own("eth0"))]).here(),
            &[(ReturnPath, Certain, 3, 0)],
        ),
        (
            "the same by eth1",
            bed([lost().amid(own("eth1"))]).here(),
            &[(ReturnPath, Likely, 3, 0)],
        ),
        (
            "the same by who knows which",
            bed([lost().amid(own(""))]).here(),
            &[(ReturnPath, Likely, 3, 0)],
        ),
        (
            "lost answers by who knows which",
            bed([unknown.amid(own("eth0"))]).here(),
            &[(ReturnPath, Likely, 3, 0)],
        ),
        (
            "the kernel noted that the filter took each",
            bed([filtered()
                .syn("IP_RPFILTER", "ip_rcv_finish_core")
                .amid(own("eth1"))]),
            &[(RpFilter, Certain, 3, 0)],
        ),
    ]);
}

#[test]
fn an_answer_that_went_elsewhere_names_the_interface_of_the_syn() {
    let told = |row: Row| {
        let judgement = judge(&bed([row]).here().0);
        judgement.findings[0].evidence.join(" ")
    };
    let again = || silent().to(pod()).seen(seen::SYN_ACK_AGAIN);
    let way = "did not leave by eth1, the interface the SYN came in by.";
    let found = told(again().by("eth1"));
    assert!(found.contains(way), "{found}");
    let found = told(again());
    assert!(
        found.contains("did not leave by the interface the SYN"),
        "{found}"
    );
}

/// What a counter of the reverse path filter says of silence by eth1.
fn counted(by: &str) -> (Verdict, String) {
    let mut bed = bed([silent().by("eth1").from(CLIENT).amid(own(by))]);
    bed.0.node.reverse_path_filter = 3;
    let mut findings = judge(&bed.0).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.remove(0);
    (finding.verdict, finding.evidence.join(" "))
}

#[test]
fn a_counter_of_the_filter_is_doubted_where_the_same_way_works() {
    let doubt = "speaks against it";
    let (verdict, told) = counted("eth0");
    assert!(verdict == RpFilter && !told.contains(doubt), "{told}");
    let (verdict, told) = counted("eth1");
    assert!(verdict == RpFilter && told.contains(doubt), "{told}");
}

/// A rule took SYNs by eth1 while the client was served by another interface.
fn by_rule(stop: Stop, amid: &str, rule_for: Option<&str>) -> (Verdict, Certainty) {
    let row = silent().by("eth1").syn("NETFILTER_DROP", "nft_do_chain");
    let row = row.amid(own(amid));
    let by = rule_for.and_then(InterfaceName::new);
    let bed = bed([row]).rules_for(by, [stop]);
    of_row(&bed.0.rows[0], &bed.0)
}

#[test]
fn a_rule_for_one_interface_may_spare_what_comes_by_another() {
    let drop = || stop(Owner::Other, Action::Drop);
    let named = (DroppedByRule, Certain);
    assert_eq!(by_rule(drop(), "eth0", Some("eth1")), named);
    // It would have taken what came through.
    let doubted = (DroppedByRule, Likely);
    assert_eq!(by_rule(drop(), "eth0", None), doubted);
    assert_eq!(by_rule(drop(), "eth1", Some("eth1")), doubted);
    assert_eq!(by_rule(drop(), "", Some("eth1")), doubted);
}

/// A rule that may fit has taken as many as failed at two interfaces together.
#[test]
fn a_counter_has_to_have_risen_by_the_failures_of_all_interfaces() {
    let silence = |by: &str| silent().by(by).syn("NETFILTER_DROP", "nft_do_chain");
    let may = |rise| Stop {
        matches: Matches::Maybe,
        rise: Some(rise),
        ..stop(Owner::Other, Action::Drop)
    };
    let judged = |bed: Bed| of_row(&bed.0.rows[0], &bed.0);
    let both = || bed([silence("eth0"), silence("eth1")]);
    assert_eq!(judged(both().rules([may(6)])), (DroppedByRule, Certain));
    assert_eq!(judged(both().rules([may(5)])), (DroppedByRule, Likely));
    // It can have taken those of eth0 alone.
    let by = InterfaceName::new("eth0");
    let alone = judged(both().rules_for(by, [may(3)]));
    assert_eq!(alone, (DroppedByRule, Certain));
}

fn scope(rows: impl IntoIterator<Item = Row>, others: &[Served]) -> (Scope, Vec<String>) {
    super::claims::scope(bed(rows).here(), others)
}

#[test]
fn a_problem_of_one_interface_says_so() {
    let (found, evidence) = scope([lost()], &[own("eth0")]);
    assert_eq!(found.interfaces, ["eth1"]);
    assert_eq!(found.title().as_deref(), Some("only by eth1"));
    let told = "Only attempts that came in by eth1 failed so, and none of these was established; \
                of those by eth0 20 were.";
    assert!(evidence.iter().any(|line| line == told), "{evidence:#?}");
    let (found, _) = scope([lost(), lost().by("eth2")], &[own("eth0")]);
    assert_eq!(found.title().as_deref(), Some("only by eth1, eth2"));
    let another_port = Served {
        node_port: PORT + 1,
        ..own("eth0")
    };
    let unknown = Row {
        interface: None,
        ..lost()
    };
    // The same interface works for others, or may.
    for (rows, others) in [
        (vec![lost()], vec![own("eth0"), own("eth1")]),
        (vec![lost()], vec![own("eth0"), own("")]),
        (vec![lost(), unknown], vec![own("eth0")]),
        (vec![lost()], vec![another_port]),
        (vec![lost()], vec![]),
    ] {
        assert_eq!(scope(rows, &others).0.interfaces, Vec::<String>::new());
    }
}
