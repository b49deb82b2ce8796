use std::sync::Arc;

use tracer_common::failure::{Failure, Reply, seen};

use super::{super::of_row, bed::*, *};
use crate::{
    evidence::{Entry, Evidence, Listener, Row, VirtualServer},
    services::{Listed, Pod, Table, Tenancy},
};

const SECOND: u64 = 1_000_000_000;
/// When the pod was told to stop, and when it was gone.
const STOP: u64 = 100 * SECOND;
const GONE: u64 = 103 * SECOND;

fn tenancy(name: &str, from: u64) -> Tenancy {
    Tenancy {
        pod: Arc::new(Pod {
            namespace: "thrift".into(),
            name: name.into(),
        }),
        from,
        unready_since: None,
        was_ready: true,
        terminating_since: None,
        until: None,
    }
}

fn stopped(name: &str) -> Tenancy {
    Tenancy {
        unready_since: Some(STOP),
        terminating_since: Some(STOP),
        ..tenancy(name, 0)
    }
}

fn deleted(name: &str) -> Tenancy {
    Tenancy {
        until: Some(GONE),
        ..stopped(name)
    }
}

fn listed(last: u8, ready: bool, terminating: bool) -> Listed {
    Listed {
        address: backend(last).ip(),
        pod: Some("users".into()),
        node: Some("n".into()),
        ready,
        serving: ready,
        terminating,
    }
}

/// With this history of the first backend, and these endpoints.
fn told(bed: Bed, held: &[Tenancy], endpoints: Vec<Listed>) -> Evidence {
    let mut names = Table::named(PORT, "thrift", "users", "");
    for tenancy in held {
        names.remember(pod().ip(), tenancy.clone());
    }
    names.list(PORT, 9090, endpoints);
    Evidence {
        names: names.into(),
        ended: 200 * SECOND,
        ..bed.0
    }
}

/// Its SYNs were sent from the first to the last of these.
fn between(row: Row, first: u64, last: u64) -> Row {
    Row {
        span: Some((first, last)),
        ..row
    }
}

fn verdict(row: &Row, held: &[Tenancy], endpoints: Vec<Listed>) -> (Verdict, Certainty) {
    let evidence = told(bed([row.clone()]).beyond().opens(0), held, endpoints);
    of_row(row, &evidence)
}

/// Silence at the first backend, one SYN at this time.
fn silence(at: u64) -> Row {
    between(silent().to(pod()), at, at)
}

fn refusal(at: u64) -> Row {
    let row = refused(Reply::BackendRst).to(pod());
    between(row.reset(seen::RESET_CLIENT, "NO_SOCKET"), at, at)
}

const CERTAIN: Certainty = Certainty::Certain;

#[test]
fn a_pod_that_stops_is_told_from_one_that_never_listened() {
    let others = || vec![listed(3, true, false)];
    let at = STOP + SECOND;
    let is = (Verdict::PodTerminating, CERTAIN);
    // Another port of the pod may have made it ready; this one has answered.
    let ready = verdict(&refusal(at), &[stopped("users-0")], others());
    assert_eq!(ready, (Verdict::PodTerminating, Certainty::Likely));
    let row = refusal(at);
    let bed = bed([row.clone()]).beyond().opens(5);
    assert_eq!(
        of_row(&row, &told(bed, &[stopped("users-0")], others())),
        is
    );
    // Whether it still listens cannot be seen: it is on another node.
    let silent = verdict(&silence(at), &[stopped("users-0")], others());
    assert_eq!(silent, (Verdict::PodTerminating, Certainty::Likely));
    // Before it was told to stop: the port is wrong.
    let before = verdict(&refusal(STOP - 2 * SECOND), &[stopped("users-0")], others());
    assert_eq!(before, (Verdict::NothingListens, CERTAIN));
    // So before, and so when it was told to stop: the port is wrong all the time.
    let all_along = between(refusal(at), STOP - 20 * SECOND, at);
    let all_along = verdict(&all_along, &[stopped("users-0")], others());
    assert_eq!(all_along.0, Verdict::NothingListens);
    // The API tells late: then it is not certain.
    let just = verdict(&refusal(STOP - SECOND / 2), &[stopped("users-0")], others());
    assert_eq!(just, (Verdict::PodTerminating, Certainty::Likely));
    // It never worked.
    let never = Tenancy {
        was_ready: false,
        ..stopped("users-0")
    };
    assert_eq!(
        verdict(&refusal(at), &[never], others()).0,
        Verdict::NothingListens
    );
}

#[test]
fn a_pod_that_stops_and_still_listens_is_not_to_blame() {
    let row = silence(STOP + SECOND);
    let full = |pod: &mut crate::evidence::Pod| {
        pod.listener = Some(Listener {
            queue: 129,
            limit: 128,
            drops: 9,
        });
    };
    let evidence = told(bed([row.clone()]).with(full), &[stopped("users-0")], vec![]);
    assert_eq!(of_row(&row, &evidence).0, Verdict::AcceptQueueFull);
}

#[test]
fn what_is_sent_to_a_pod_that_was_deleted_is_its_own() {
    let others = || vec![listed(3, true, false)];
    let held = [deleted("users-0")];
    assert_eq!(
        verdict(&silence(GONE + SECOND), &held, others()),
        (Verdict::PodGone, CERTAIN)
    );
    let host = between(icmp(1).to(pod()), GONE + SECOND, GONE + 2 * SECOND);
    assert_eq!(verdict(&host, &held, others()), (Verdict::PodGone, CERTAIN));
    // A copy that a bridge flooded says nothing.
    let copy = silence(GONE + SECOND).syn("OTHERHOST", "ip_rcv_core");
    assert_eq!(verdict(&copy, &held, others()), (Verdict::PodGone, CERTAIN));
    // It fell before that.
    let before = verdict(&silence(STOP - 5 * SECOND), &held, others());
    assert_eq!(before.0, Verdict::Unexplained);
    // Some before and some after; or nobody knows when.
    let row = between(silent().to(pod()), GONE - SECOND, GONE + SECOND);
    assert_eq!(
        verdict(&row, &held, others()),
        (Verdict::PodGone, Certainty::Likely)
    );
    let unknown = silent().to(pod());
    assert_eq!(verdict(&unknown, &held, others()).1, Certainty::Likely);
    // A rule dropped it.
    let ruled = silence(GONE + SECOND).syn("NETFILTER_DROP", "nft_do_chain");
    assert_eq!(verdict(&ruled, &held, others()).0, Verdict::DroppedByRule);
}

#[test]
fn a_pod_that_only_left_the_service_is_likely_at_most() {
    let left = Tenancy {
        until: Some(GONE),
        ..tenancy("users-0", 0)
    };
    let row = silence(GONE + SECOND);
    let others = || vec![listed(3, true, false)];
    assert_eq!(
        verdict(&row, std::slice::from_ref(&left), others()),
        (Verdict::PodGone, Certainty::Likely)
    );
    // It is still there.
    let evidence = told(bed([row.clone()]).here(), &[left], others());
    assert_eq!(of_row(&row, &evidence).0, Verdict::Unexplained);
}

#[test]
fn a_namespace_that_is_gone_says_the_same() {
    let row = silence(GONE + SECOND);
    let mut evidence = bed([row.clone()]).beyond().0;
    evidence.backends[0].gone_at = Some(GONE);
    assert_eq!(of_row(&row, &evidence), (Verdict::PodGone, CERTAIN));
    let row = silence(GONE - 5 * SECOND);
    assert_eq!(of_row(&row, &evidence).0, Verdict::Unexplained);
}

#[test]
fn rules_are_stale_after_some_seconds_only() {
    let held = [deleted("users-0")];
    for others in [vec![], vec![listed(3, true, false)]] {
        let late = verdict(&silence(STOP + 11 * SECOND), &held, others.clone());
        assert_eq!(late, (Verdict::RulesStale, CERTAIN));
        let soon = verdict(&silence(STOP + 9 * SECOND), &held, others);
        assert_eq!(soon.0, Verdict::PodGone);
    }
    // It answers, but should not be chosen: nothing fails, or fails for its own cause;
    // a terminating one may be where no other is ready on its node.
    let going = vec![Listed {
        serving: true,
        ..listed(2, false, true)
    }];
    let row = silence(STOP + 11 * SECOND);
    let right = verdict(&row, &[stopped("users-0")], going.clone());
    assert_eq!(right.0, Verdict::PodTerminating);
    let wrong = [going, vec![listed(3, true, false)]].concat();
    assert_eq!(
        verdict(&row, &[stopped("users-0")], wrong).0,
        Verdict::RulesStale
    );
    // An old conntrack entry is followed before any rule is asked.
    let old = silence(STOP + 11 * SECOND).seen(seen::OLD_ENTRY);
    let old = verdict(&old, &held, vec![listed(3, true, false)]);
    assert_ne!(old.0, Verdict::RulesStale);
    // It is listed.
    let well = verdict(&row, &[tenancy("users-0", 0)], vec![listed(2, true, false)]);
    assert_eq!(well.0, Verdict::Unexplained);
}

#[test]
fn a_pod_that_stops_may_be_chosen_while_no_other_is_ready() {
    let row = silence(STOP + 25 * SECOND);
    let with = |held: Tenancy, empty: bool| {
        let bed = bed([row.clone()]).beyond();
        let mut evidence = told(bed, &[held], vec![listed(3, true, false)]);
        if empty {
            Arc::make_mut(&mut evidence.names).was_empty(PORT, STOP, STOP + 30 * SECOND);
        }
        of_row(&row, &evidence).0
    };
    assert_eq!(with(stopped("users-0"), false), Verdict::RulesStale);
    assert_eq!(with(stopped("users-0"), true), Verdict::PodTerminating);
    // It was not listed any more.
    assert_eq!(with(deleted("users-0"), true), Verdict::RulesStale);
}

/// externalTrafficPolicy Local: the pods of other nodes do not count here. While the last
/// one of this node goes it is chosen by a proxy that is well; gone, by a dead one only.
#[test]
fn rules_are_stale_where_only_other_nodes_have_ready_pods() {
    let elsewhere = || {
        vec![Listed {
            node: Some("m".into()),
            ..listed(3, true, false)
        }]
    };
    let told_at = |at: u64, alone: bool| {
        let row = silence(at);
        let bed = bed([row.clone()]).beyond();
        let left = Tenancy {
            until: Some(STOP + 30 * SECOND),
            ..stopped("users-0")
        };
        let mut evidence = told(bed, &[left], elsewhere());
        if alone {
            let names = Arc::make_mut(&mut evidence.names);
            names.was_alone(PORT, pod(), STOP, STOP + 30 * SECOND);
        }
        of_row(&row, &evidence)
    };
    // As soon as for a Service that has pods here: it did not serve any more.
    assert_eq!(
        told_at(STOP + 11 * SECOND, false),
        (Verdict::RulesStale, CERTAIN)
    );
    let served_on = told_at(STOP + 25 * SECOND, true);
    assert_eq!(served_on.0, Verdict::PodTerminating);
    assert_eq!(told_at(STOP + 35 * SECOND, true).0, Verdict::PodGone);
    assert_eq!(
        told_at(STOP + 41 * SECOND, true),
        (Verdict::RulesStale, CERTAIN)
    );
}

/// Their SYNs wait for the next hop of a pod that is gone: only conntrack knows where.
#[test]
fn rules_are_stale_where_no_syn_leaves_the_node() {
    let waits = Entry {
        node_port: PORT,
        backend: pod(),
        state: "SYN_SENT".to_owned(),
    };
    let at = |at: u64| {
        let row = between(silent(), at, at);
        let bed = bed([row.clone()]).beyond();
        let others = vec![listed(3, true, false)];
        let mut evidence = told(bed, &[deleted("users-0")], others);
        evidence.entries = vec![waits.clone()];
        of_row(&row, &evidence)
    };
    assert_eq!(at(STOP + 9 * SECOND).0, Verdict::PodGone);
    let stale = (Verdict::RulesStale, Certainty::Likely);
    assert_eq!(at(STOP + 11 * SECOND), stale);
}

#[test]
fn ipvs_uses_connections_again_without_its_proxy() {
    let row = silence(STOP + 30 * SECOND);
    let with = |backends: &[std::net::SocketAddr]| {
        let bed = bed([row.clone()]).beyond().opens(0);
        let mut evidence = told(bed, &[deleted("users-0")], vec![listed(3, true, false)]);
        evidence.virtual_servers = Some(vec![VirtualServer {
            address: (NODE, PORT).into(),
            backends: backends.to_vec(),
        }]);
        of_row(&row, &evidence)
    };
    assert_eq!(with(&[pod()]), (Verdict::RulesStale, CERTAIN));
    assert_eq!(with(&[backend(3)]).1, Certainty::Likely);
}

#[test]
fn who_was_never_listed_may_be_another_nats_choice() {
    let row = silence(STOP + 30 * SECOND);
    let other = tenancy("users-1", 0);
    let bed = bed([row.clone()]).beyond().opens(0);
    let mut evidence = told(bed, &[], vec![listed(3, true, false)]);
    Arc::make_mut(&mut evidence.names).remember(backend(3).ip(), other);
    assert_eq!(
        of_row(&row, &evidence),
        (Verdict::RulesStale, Certainty::Likely)
    );
    let said = judge(&evidence).findings.remove(0).evidence.join(" ");
    assert!(
        said.contains("in which no pod has had that address"),
        "{said}"
    );
}

#[test]
fn a_pod_that_stops_and_answers_others_is_not_to_blame_for_certain() {
    let row = silence(STOP + SECOND).amid(served(Some(pod())));
    let told = verdict(&row, &[stopped("users-0")], vec![listed(3, true, false)]);
    assert_eq!(told, (Verdict::PodTerminating, Certainty::Likely));
}

#[test]
fn an_address_is_blamed_on_who_held_it() {
    let held = [deleted("victim-0"), tenancy("innocent-0", 110 * SECOND)];
    let now = || vec![listed(2, true, false)];
    let of = |row: Row| {
        let bed = bed([row]).with(|pod| pod.listener = None);
        let evidence = told(bed.opens(10), &held, now());
        judge(&evidence).findings.remove(0)
    };
    let wrong_port = of(refusal(STOP - 50 * SECOND));
    assert_eq!(wrong_port.verdict, Verdict::NothingListens);
    assert_eq!(wrong_port.pod.as_deref(), Some("thrift/victim-0"));
    assert!(!wrong_port.next.contains("innocent"), "{}", wrong_port.next);
    let gone = of(silence(GONE + SECOND));
    assert_eq!((gone.verdict, gone.certainty), (Verdict::PodGone, CERTAIN));
    assert_eq!(gone.pod.as_deref(), Some("thrift/victim-0"));
    // The neighbour entry still has the victim's MAC.
    let after = of(silence(112 * SECOND));
    assert_eq!(after.verdict, Verdict::PodGone);
    assert_eq!(after.certainty, Certainty::Likely);
    assert!(after.evidence.iter().any(|l| l.contains("victim-0")));
    // Long after that it fails for its own cause.
    let own = of(refusal(190 * SECOND));
    assert_eq!(own.verdict, Verdict::NothingListens);
    assert_eq!(own.pod.as_deref(), Some("thrift/innocent-0"));
    // Both met failures: neither is named.
    let both = of(between(refusal(0), STOP - 50 * SECOND, 190 * SECOND));
    assert_eq!(both.pod, None);
}

#[test]
fn what_a_later_syn_achieved_is_not_blamed_on_the_fate_of_the_first() {
    let late = || {
        row(Failure::Late)
            .to(pod())
            .syn("NETFILTER_DROP", "nft_do_chain")
    };
    let alone = bed([late()]).here();
    assert_eq!(judge(&alone.0).findings, []);
    // Others got kube-proxy's ICMP.
    let beside = bed([late(), icmp(3)]).here();
    let (verdict, certainty) = of_row(&late(), &beside.0);
    assert_eq!(
        (verdict, certainty),
        (Verdict::NoEndpoints, Certainty::Likely)
    );
}

/// ICMP is rationed, and the rule that rejected is gone since a pod is ready.
#[test]
fn silence_of_a_port_without_endpoints_is_no_firewalls() {
    let rejected = || {
        between(
            silent().syn("NETFILTER_DROP", "nft_do_chain"),
            195 * SECOND,
            195 * SECOND,
        )
    };
    let of = |endpoints: Vec<Listed>| {
        let evidence = told(bed([rejected()]).here().rules([]), &[], endpoints);
        of_row(&evidence.rows[0], &evidence)
    };
    assert_eq!(of(vec![]), (Verdict::NoEndpoints, CERTAIN));
    let ready = of(vec![listed(3, true, false)]);
    assert_eq!(ready, (Verdict::DroppedByRule, Certainty::Likely));
}

#[test]
fn an_unanswered_entry_of_a_pod_that_is_gone_is_an_old_one() {
    let with = |held: &[Tenancy], at: u64| {
        let row = between(silent(), at, at);
        let bed = bed([row.clone()]).another(3, 20, |_| {});
        let mut evidence = told(bed, held, vec![listed(3, true, false)]);
        evidence.entries.push(crate::evidence::Entry {
            node_port: PORT,
            backend: pod(),
            state: "SYN_SENT".to_owned(),
        });
        of_row(&row, &evidence).0
    };
    let late = 190 * SECOND;
    assert_eq!(with(&[deleted("users-0")], late), Verdict::StaleConntrack);
    // The attempt's own.
    assert_ne!(
        with(&[tenancy("users-0", 0)], late),
        Verdict::StaleConntrack
    );
    assert_ne!(with(&[deleted("users-0")], STOP), Verdict::StaleConntrack);
}

#[test]
fn a_backend_that_serves_alone_may_be_chosen() {
    let going = |node: &str| Listed {
        node: Some(node.into()),
        serving: true,
        ..listed(2, false, true)
    };
    let may = |endpoints: Vec<Listed>| {
        let mut names = Table::default();
        names.list(PORT, 9090, endpoints);
        names.endpoints(PORT).unwrap().may_choose(pod())
    };
    assert!(may(vec![listed(2, true, false)]));
    assert!(may(vec![going("n")]) && may(vec![going("other"), listed(3, true, false)]));
    assert!(!may(vec![going("n"), listed(3, true, false)]));
    assert!(!may(vec![listed(2, false, true)]) && !may(vec![]));
}

#[test]
fn what_had_no_endpoint_then_is_told_though_it_works_now() {
    let rejected = |at| between(icmp(3), at, at);
    let verdict = |row: Row| {
        let mut names = Table::named(PORT, "thrift", "users", "");
        names.list(PORT, 9090, vec![listed(2, true, false)]);
        names.was_empty(PORT, STOP, GONE);
        let evidence = Evidence {
            names: names.into(),
            ended: 200 * SECOND,
            ..bed([row.clone()]).here().0
        };
        of_row(&row, &evidence)
    };
    assert_eq!(
        verdict(rejected(STOP + SECOND)),
        (Verdict::NoEndpoints, CERTAIN)
    );
    assert_ne!(verdict(rejected(GONE + 9 * SECOND)).1, CERTAIN);
    assert_ne!(verdict(rejected(STOP - SECOND)).1, CERTAIN);
}
