//! Any evidence: no panic, every failed attempt in one place, findings sorted.

use std::{net::IpAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tracer_common::failure::{Failure, Reply};

use super::{
    super::{Certainty, Verdict, case::Case, claim, judge, of_row},
    bed::{PORT, backend, stop},
};
use crate::{
    evidence::{
        Backend, Conntrack, Entry, Evidence, Holder, InterfaceName, Listener, Namespace, Place,
        Pod, Route, Row, Served,
        rules::{Action, Matches, Owner, RuleSets, Stop, Traced},
    },
    services::{self, Listed, Table, Tenancy},
};

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

const REASONS: &[&str] = &[
    "NETFILTER_DROP",
    "IP_RPFILTER",
    "NO_SOCKET",
    "NEIGH_FAILED",
    "TCP_CSUM",
    "PKT_TOO_BIG",
    "TCP_RFC7323_TW_PAWS",
    "TCP_LISTEN_OVERFLOW",
    "IP_LOCAL_SOURCE",
    "NOT_SPECIFIED",
    "\u{e9}",
    "",
];
const LOCATIONS: &[&str] = &[
    "nft_do_chain",
    "nf_hook_slow",
    "ip_error",
    "tcp_v4_rcv",
    "cookie_v4_check",
    "ip_forward",
    "ip_rcv_finish_core",
    "neigh_invalidate",
    ".",
    "[nf]",
    "",
];
const STATES: &[&str] = &[
    "FAILED",
    "INCOMPLETE",
    "REACHABLE",
    "ESTABLISHED",
    "SYN_SENT",
];

fn name(names: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    option::of(select(names).prop_map(str::to_owned))
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_u64, 0..1000_u64, Just(u64::MAX)]
}

fn rows() -> impl Strategy<Value = Row> {
    let kind = (
        select(Failure::ALL),
        select(Reply::ALL),
        0..16_u8,
        any::<u16>(),
    );
    let names = (name(REASONS), name(LOCATIONS), name(REASONS));
    let place = (PORT..PORT + 3, option::of(0..3_u8), 0..1000_u64);
    let scope = (
        option::of(addresses()),
        vec(addresses(), 0..2),
        vec(served_by(), 0..3),
        interfaces(),
    );
    (kind, names, place, scope).prop_map(|(kind, names, (node_port, to, count), scope)| Row {
        dialled: scope.0,
        sources: scope.1.into_iter().map(|client| (client, count)).collect(),
        amid: scope.2,
        interface: scope.3,
        code: kind.2,
        seen: kind.3,
        span: (count % 2 == 0).then_some((count * SECOND / 4, count * SECOND / 2)),
        backend: to.map(backend),
        reason: names.0,
        location: names.1,
        reset_reason: names.2,
        count,
        ..Row::new(node_port, kind.0, kind.1)
    })
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    select(vec![
        IpAddr::from([10, 0, 3, 17]),
        IpAddr::from([10, 0, 3, 18]),
        IpAddr::from([10, 244, 1, 1]),
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]),
    ])
}

fn interfaces() -> impl Strategy<Value = Option<InterfaceName>> {
    option::of(select(vec!["eth0", "eth1"])).prop_map(|name| name.and_then(InterfaceName::new))
}

fn served_by() -> impl Strategy<Value = Served> {
    let who = (option::of(addresses()), addresses(), option::of(0..3_u8));
    let how = (interfaces(), 1..100_u64);
    (PORT..PORT + 3, who, how).prop_map(|(node_port, (client, dialled, to), (interface, count))| {
        Served {
            node_port,
            client,
            dialled,
            interface,
            backend: to.map(backend),
            count,
        }
    })
}

fn stops() -> impl Strategy<Value = Stop> {
    let owner = select(vec![Owner::KubeProxy, Owner::Other]);
    let action = select(vec![
        Action::Drop,
        Action::RejectReset,
        Action::RejectIcmp { code: 3 },
    ]);
    let counts = (option::of(0..9_u64), option::of(0..9_u64));
    let matches = select(vec![Matches::Yes, Matches::Maybe]);
    (owner, action, counts, matches).prop_map(|(owner, action, counts, matches)| Stop {
        packets: counts.0,
        rise: counts.1,
        matches,
        ..stop(owner, action)
    })
}

fn rule_sets() -> impl Strategy<Value = RuleSets> {
    let traced = (vec(stops(), 0..3), any::<bool>()).prop_map(|(stops, complete)| Traced {
        stops,
        backends: Vec::new(),
        complete,
        complete_before_dnat: complete,
    });
    option::of((traced, interfaces())).prop_map(|t| {
        t.map_or_else(RuleSets::default, |(traced, by)| {
            RuleSets::answering(traced, by)
        })
    })
}

fn namespaces() -> impl Strategy<Value = Namespace> {
    vec(count(), 8).prop_map(|n| Namespace {
        listen_overflows: n[0],
        listen_drops: n[1],
        paws: n[2],
        checksum_errors: n[3],
        reverse_path_filter: n[4],
        frag_fails: n[5],
        out_rsts: n[6],
        abort_on_memory: n[7],
        ..Namespace::default()
    })
}

fn places() -> impl Strategy<Value = Place> {
    let listener = option::of((any::<u32>(), any::<u32>()));
    let pod = (
        namespaces(),
        listener,
        vec(any::<u16>(), 0..12),
        any::<(bool, u32, u32, bool, Option<u8>, u32)>(),
    );
    let pod = pod.prop_map(|(namespace, listener, listens_on, rest)| Pod {
        namespace,
        listener: listener.map(|(queue, limit)| Listener {
            queue,
            limit,
            drops: queue,
        }),
        listens_on,
        listens_only_at: rest.0.then_some([127, 0, 0, 1].into()),
        not_accepted: rest.1,
        unread: rest.2,
        rp_filter: 1,
        was_full: rest.3,
        syncookies: rest.4,
        syn_recv: rest.5,
        accepted: rest.5 / 2,
        unread_for_long: rest.3,
        ..Pod::default()
    });
    prop_oneof![
        pod.prop_map(|pod| Place::Here(Box::new(pod))),
        Just(Place::Beyond),
        Just(Place::Unknown),
    ]
}

fn routes() -> impl Strategy<Value = Route> {
    let unicast = Route::Unicast {
        dev: "eth0".to_owned(),
        via: None,
    };
    select(vec![
        unicast,
        Route::Local,
        Route::Blackhole,
        Route::Unreachable,
        Route::Prohibit,
        Route::Missing,
    ])
}

fn backends() -> impl Strategy<Value = Backend> {
    let at = (
        PORT..PORT + 3,
        0..3_u8,
        count(),
        count(),
        option::of(times()),
    );
    (at, places(), option::of(routes()), name(STATES)).prop_map(|(at, place, route, neighbour)| {
        Backend {
            gone_at: at.4,
            node_port: at.0,
            address: backend(at.1),
            attempts: at.2,
            passive_opens: at.3,
            place,
            route,
            neighbour,
        }
    })
}

fn times() -> impl Strategy<Value = u64> {
    (0..1000_u64).prop_map(|at| at * SECOND / 4)
}

/// Who held the backends' addresses, in any order, and what is listed.
fn names() -> impl Strategy<Value = Table> {
    let tenancy = (
        0..3_u8,
        vec(times(), 2),
        vec(option::of(times()), 2),
        any::<bool>(),
    );
    let listed = (0..3_u8, any::<[bool; 3]>(), PORT..PORT + 3);
    (vec(tenancy, 0..6), vec(listed, 0..4)).prop_map(|(held, all)| {
        let mut names = Table::default();
        for (to, times, going, was_ready) in held {
            let tenancy = Tenancy {
                pod: Arc::new(services::Pod {
                    namespace: "thrift".into(),
                    name: format!("users-{}", times[0] % 3).into(),
                }),
                from: times[0],
                unready_since: going[0],
                was_ready,
                terminating_since: going[0],
                until: going[1],
            };
            names.remember(backend(to).ip(), tenancy);
        }
        for (to, [ready, serving, terminating], port) in all {
            let listed = Listed {
                address: backend(to).ip(),
                pod: None,
                node: None,
                ready,
                serving,
                terminating,
            };
            names.list(port, 9090, vec![listed]);
        }
        names
    })
}

fn holders() -> impl Strategy<Value = Holder> {
    (PORT..PORT + 3, any::<(u32, u32, u32, u32)>(), name(STATES)).prop_map(|(port, n, process)| {
        Holder {
            node_port: port,
            listener: Listener {
                queue: n.0,
                limit: n.1,
                drops: 0,
            },
            not_accepted: n.2,
            accepted: n.3 / 2,
            close_wait: n.3,
            process,
        }
    })
}

fn entries() -> impl Strategy<Value = Entry> {
    (PORT..PORT + 3, 0..3_u8, select(STATES)).prop_map(|(node_port, to, state)| Entry {
        node_port,
        backend: backend(to),
        state: state.to_owned(),
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let conntrack = option::of(vec(count(), 6)).prop_map(|n| {
        n.map(|n| Conntrack {
            count: n[0],
            peak: n[0],
            max: n[1],
            insert_failed: n[2],
            drop: n[3],
            early_drop: n[4],
            invalid: n[5],
        })
    });
    let system = (
        (namespaces(), conntrack, vec(entries(), 0..3), names()),
        vec(served_by(), 0..4),
        rule_sets(),
    );
    (
        vec(rows(), 0..12),
        vec(backends(), 0..5),
        vec(holders(), 0..3),
        system,
    )
        .prop_map(
            |(rows, backends, holders, ((node, conntrack, entries, names), served, rules))| {
                Evidence {
                    served,
                    rules: Arc::new(rules),
                    rows,
                    backends,
                    holders,
                    node,
                    conntrack,
                    entries,
                    names: names.into(),
                    ended: 250 * SECOND,
                    ..Evidence::default()
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn every_failed_attempt_is_in_one_place(evidence in evidence()) {
        let judgement = judge(&evidence);
        let failed = |r: &&Row| r.failure.is_attempt();
        let all: u64 = evidence.rows.iter().filter(failed).map(|r| r.count).sum();
        let explained: u64 = judgement.findings.iter().map(|f| f.failed).sum();
        prop_assert_eq!(explained + judgement.unexplained, all);
        let size = |i: usize| {
            let f = &judgement.findings[i];
            f.failed.saturating_add(f.connections)
        };
        prop_assert!((1..judgement.findings.len()).all(|i| size(i - 1) >= size(i)));
        for finding in &judgement.findings {
            prop_assert!((0.0..=1.0).contains(&finding.share));
            prop_assert!(!finding.next.is_empty());
            prop_assert!(finding.evidence.iter().all(|line| line.ends_with('.')), "{finding:#?}");
            let unexplained = finding.verdict == Verdict::Unexplained;
            prop_assert!(!unexplained || finding.failed > 0 || finding.connections == 0);
        }
        for row in &evidence.rows {
            let (verdict, _) = of_row(row, &evidence);
            let named = |f: &&super::super::Finding| f.node_port == row.node_port && f.verdict == verdict;
            let found = judgement.findings.iter().find(named);
            prop_assert!(verdict == Verdict::Unexplained || found.is_some());
        }
    }

    /// The kernel's own notes, and what has no claim beyond its own attempts, stand by
    /// themselves.
    #[test]
    fn nothing_certain_stands_against_what_worked(evidence in evidence()) {
        for row in &evidence.rows {
            let (verdict, certainty) = of_row(row, &evidence);
            let against = claim::against(verdict, &Case::new(row, &evidence));
            prop_assert!(certainty != Certainty::Certain || against == 0, "{verdict} {row:#?}");
        }
    }

    /// What came by which interface nobody knows may have come by any.
    #[test]
    fn an_unknown_interface_makes_nothing_surer(evidence in evidence()) {
        for row in &evidence.rows {
            let unknown = Row { interface: None, ..row.clone() };
            let amid = row.amid.iter().map(|s| Served { interface: None, ..*s });
            let served_by_unknown = Row { amid: amid.collect(), ..row.clone() };
            for verdict in Verdict::ALL {
                let against = |row| claim::against(*verdict, &Case::new(row, &evidence));
                prop_assert!(against(row) <= against(&unknown), "{verdict} {row:#?}");
                prop_assert!(against(row) <= against(&served_by_unknown), "{verdict} {row:#?}");
            }
        }
    }

    /// Failures, connections and counters of another port, of which no hook noted anything.
    #[test]
    fn another_ports_traffic_turns_no_cause_into_another(
        evidence in evidence(),
        other in vec(rows(), 1..4),
        served in vec(served_by(), 0..4),
    ) {
        let mut more = evidence.clone();
        let apart = |port: u16| port + 100;
        more.rows.extend(other.into_iter().map(|row| Row {
            node_port: apart(row.node_port),
            seen: 0,
            reason: None,
            location: None,
            reset_reason: None,
            ..row
        }));
        more.served.extend(served.into_iter().map(|s| Served {
            node_port: apart(s.node_port),
            ..s
        }));
        for row in &evidence.rows {
            let (before, after) = (of_row(row, &evidence), of_row(row, &more));
            prop_assert_eq!(before.0, after.0, "{:#?}", row);
        }
    }
}
