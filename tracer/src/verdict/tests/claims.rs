//! Claims against what worked meanwhile, and whom a problem spares.

use std::net::IpAddr;

use tracer_common::failure::{
    Failure::{Unacked, Unreachable},
    Reply::{Icmpv6, NodeRst},
    seen,
};

use super::{
    super::{
        Certainty::{Certain, Likely},
        Scope,
        Verdict::{BackendUnreachable, NoServiceRule, NothingListens, ReturnPath, RouteBlackhole},
        judge,
    },
    bed::{
        Bed, CLIENT, Make as _, NODE, PORT, backend, bed, icmp, pod, refused, row, served, silent,
    },
    check,
};
use crate::evidence::{Route, Row, Served};

fn no_rule() -> Row {
    refused(NodeRst).reset(seen::RESET_CLIENT, "NO_SOCKET")
}

#[test]
fn what_works_at_the_same_address_and_backend_speaks_against_a_verdict() {
    let elsewhere = Served {
        dialled: [10, 0, 3, 18].into(),
        ..served(None)
    };
    let by = |backend| served(Some(backend));
    let own = |served| Served {
        client: Some(CLIENT),
        ..served
    };
    check(&[
        (
            "no rule, and connections to another address",
            bed([no_rule().amid(elsewhere)]),
            &[(NoServiceRule, Certain, 3, 0)],
        ),
        (
            "no rule, and connections to the same address",
            bed([no_rule().amid(served(None))]),
            &[(NoServiceRule, Likely, 3, 0)],
        ),
        (
            "a blackhole, and connections through another backend",
            bed([silent().to(pod()).amid(by(backend(3)))])
                .here()
                .route(Route::Blackhole),
            &[(RouteBlackhole, Certain, 3, 0)],
        ),
        (
            "a blackhole, and connections through the same backend",
            bed([silent().to(pod()).amid(by(pod()))])
                .here()
                .route(Route::Blackhole),
            &[(RouteBlackhole, Likely, 3, 0)],
        ),
        (
            "a dead neighbour, and connections through the same backend",
            bed([icmp(1).to(pod()).amid(by(pod()))])
                .here()
                .neighbour("FAILED"),
            &[(BackendUnreachable, Likely, 3, 0)],
        ),
        (
            "the stack itself refused each: it may listen a moment later",
            bed([refused(NodeRst)
                .to(pod())
                .reset(seen::RESET_CLIENT, "NO_SOCKET")
                .amid(by(pod()))])
            .here(),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "lost answers to one client, and another one is served",
            bed([lost().from(CLIENT).amid(by(pod()))]).here(),
            &[(ReturnPath, Certain, 3, 0)],
        ),
        (
            "lost answers to a client that is served as well",
            bed([lost().from(CLIENT).amid(own(by(pod())))]).here(),
            &[(ReturnPath, Likely, 3, 0)],
        ),
    ]);
}

/// Where the kernel's table of connections was full, nobody knows what worked.
#[test]
fn what_worked_and_was_not_told_apart_leaves_it_open() {
    let untold = |mut bed: Bed| {
        bed.0.untold = 7;
        bed
    };
    let unnamed = || refused(NodeRst).to(pod()).reset(seen::RESET_CLIENT, "");
    check(&[
        (
            "no rule, as far as it is known",
            untold(bed([no_rule()])),
            &[(NoServiceRule, Likely, 3, 0)],
        ),
        (
            "the stack itself refused each",
            untold(bed([unnamed().reset(seen::RESET_CLIENT, "NO_SOCKET")]).here()),
            &[(NothingListens, Certain, 3, 0)],
        ),
        (
            "the same before kernels gave reasons",
            untold(bed([unnamed()]).here()),
            &[(NothingListens, Likely, 3, 0)],
        ),
    ]);
    let other = Served {
        dialled: [10, 0, 3, 18].into(),
        ..served(Some(pod()))
    };
    let (found, evidence) = scope(untold(bed([no_rule()])), &[other]);
    assert_eq!(found.addresses, [NODE]);
    let told = evidence.join(" ");
    assert!(!told.contains("none to it was"), "{told}");
    assert!(
        told.contains("Whether any to it was is not known"),
        "{told}"
    );
    assert!(told.contains("Whose 7 other connections"), "{told}");
}

/// The SYN-ACK was dropped.
fn lost() -> Row {
    row(Unacked)
        .to(pod())
        .drop(seen::DROPPED_SYN_ACK, "NETFILTER_DROP", "nft_do_chain")
}

pub(super) fn scope(mut bed: Bed, others: &[Served]) -> (Scope, Vec<String>) {
    bed.0.served = others.to_vec();
    let mut findings = judge(&bed.0).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.remove(0);
    (finding.scope, finding.evidence)
}

#[test]
fn a_problem_of_one_address_says_so() {
    let other = Served {
        dialled: [10, 0, 3, 18].into(),
        ..served(Some(pod()))
    };
    let (found, evidence) = scope(bed([no_rule()]), &[other]);
    assert_eq!(found.addresses, [NODE]);
    assert_eq!(found.title().as_deref(), Some("only at 10.0.3.17"));
    let told = "Only attempts to 10.0.3.17 failed so, and none to it was established; of those to \
                10.0.3.18 20 were.";
    assert!(evidence.iter().any(|line| line == told), "{evidence:#?}");
    // Two of them fail.
    let second = Row {
        dialled: Some([10, 0, 3, 19].into()),
        ..no_rule()
    };
    let (_, evidence) = scope(bed([no_rule(), second]), &[other]);
    let told = "Only attempts to 10.0.3.17, 10.0.3.19 failed so, and none to them was \
                established; of those to 10.0.3.18 20 were.";
    assert!(evidence.iter().any(|line| line == told), "{evidence:#?}");
    // The same address works for others.
    let (found, _) = scope(bed([no_rule()]), &[other, served(Some(pod()))]);
    assert_eq!(found, Scope::default());
    // Another port's connections say nothing of this one.
    let another = Served {
        node_port: PORT + 1,
        ..other
    };
    assert_eq!(scope(bed([no_rule()]), &[another]).0, Scope::default());
}

#[test]
fn a_problem_of_one_family_says_so() {
    let v6: IpAddr = "fd66:1::10".parse().unwrap();
    let rejected = Row {
        dialled: Some(v6),
        ..row(Unreachable).reply(Icmpv6, 4)
    };
    let (found, evidence) = scope(bed([rejected]), &[served(Some(pod()))]);
    assert_eq!(found.family.as_deref(), Some("IPv6"));
    assert_eq!(found.title().as_deref(), Some("only IPv6"));
    assert!(evidence[1].contains("fd66:1::10 (IPv6)"), "{evidence:#?}");
}

#[test]
fn a_problem_of_one_client_says_so_only_where_others_are_served_amid() {
    let dropped = || silent().syn("NETFILTER_DROP", "nft_do_chain").from(CLIENT);
    let (found, evidence) = scope(bed([dropped()]), &[served(None)]);
    assert_eq!(found, Scope::default());
    assert!(
        evidence[0].ends_with("3 never answered; all from 10.66.1.6."),
        "{evidence:#?}"
    );
    let (found, _) = scope(bed([dropped().amid(served(None))]), &[served(None)]);
    assert_eq!(found.clients, [CLIENT]);
    assert_eq!(found.title().as_deref(), Some("only from 10.66.1.6"));
    let own = Served {
        client: Some(CLIENT),
        ..served(None)
    };
    assert_eq!(
        scope(bed([dropped().amid(own)]), &[own]).0,
        Scope::default()
    );
}
