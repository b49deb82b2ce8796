//! Near misses: what a verdict rests on is there, and the traffic goes well, or fails of
//! something else. One for each verdict, here or there:
//!
//! | not | near miss |
//! |---|---|
//! | `no_endpoints` | `unserved::a_port_that_the_host_rejects` |
//! | `rejected_by_rule` | `near_rule::a_reset_for_another_client` |
//! | `held_by_kube_proxy` | `beside::healthy_traffic_of_every_kind`: a slow accepter on the node |
//! | `no_service_rule` | `near_rule::a_pod_on_the_hosts_network` |
//! | `no_local_endpoint` | `before_dnat::raw_legacy` |
//! | `nothing_listens` | `nothing_listens::a_second_syn_of_an_unfinished_handshake` |
//! | `backend_unreachable` | `near_rule::host_unreachable_by_a_rule` |
//! | `route_blackhole` | `near_rule::a_blackhole_around_the_pod` |
//! | `accept_queue_full` | `other_movers::another_listener_overflows` |
//! | `syn_queue_full` | `no_way_back::without_cookies` |
//! | `syn_flood` | `near_miss::many_sources_that_connect` |
//! | `server_stalled` | `beside::healthy_traffic_of_every_kind`: one-way, a slow accepter |
//! | `closed_at_once` | `beside::healthy_traffic_of_every_kind`: a health port |
//! | `conntrack_full` | `other_movers::before_dnat` |
//! | `conntrack_clash` | `near_miss::a_rule_that_is_gone` |
//! | `snat_exhausted` | `other_movers::another_port_clashes` |
//! | `conntrack_invalid` | `near_miss::invalid_segments_beside_resets` |
//! | `stale_conntrack` | `near_miss::an_old_entry_of_the_right_backend` |
//! | `paws_rejected` | `paws_rejected::time_wait_of_the_same_client` |
//! | `bad_checksum` | `near_rule::checksums_beside` |
//! | `dropped_by_rule` | `near_rule::a_rule_for_another_client` |
//! | `rp_filter` | `near_rule::a_reverse_path_filter_beside` |
//! | `return_path` | `other_interface::all_calls_succeed` |
//! | `pmtu_blackhole` | `near_miss::a_small_mtu_that_is_told` |
//! | `hairpin` | `near_miss::a_masqueraded_hairpin` |
//! | `pod_terminating` | `pods::crash_loop`: not ready, and it stays |
//! | `pod_gone` | `pods::the_innocent_is_not_blamed`: the address has a new holder |
//! | `rules_stale` | `pods::rolling_update_on_a_bridge`: rules a moment behind |

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    RawClient, Topology,
    peer::{Behaviour, Dial},
    raw::Answer,
    segment::{Segment, flags},
    topology::PodLink,
};

use super::{
    expect::{Finding, explain, failed, settled, spoilt},
    other_movers::{clashes, legacy},
    scenario::{OPTIONS, Scenario},
    scene::{Reply, SOON, Scene, at_once, call},
    stale_conntrack::{AGAIN, answered},
};

const LIMIT: Duration = Duration::from_secs(3);

/// Not `pmtu_blackhole`: large packets do not fit the way back, and the ICMP that says so
/// gets through.
#[test]
fn a_small_mtu_that_is_told() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::Reply(vec![7; 20_000])),
        fault: |s| s.bed.node.ip("link set eth0 mtu 1300\n"),
        traffic: |s| {
            s.calls(6, LIMIT, Reply::Whole)?;
            s.took(&s.bed.node, "FragFails", 1)
        },
        ..Scenario::new(31950)
    }
    .run()
}

/// Not `hairpin`: the pod dials its own Service and gets itself, masqueraded.
#[test]
fn a_masqueraded_hairpin() -> Result<()> {
    Scenario {
        topology: || Topology::builder().pods(2).pod_link(PodLink::Veth),
        traffic: |s| {
            let dial = Dial::new(&s.bed.pods[0], s.node_port(s.port));
            for (reply, _) in at_once(4, |_| call(&dial))? {
                ensure!(reply == Reply::Whole, "{reply:?}");
            }
            Ok(())
        },
        ..Scenario::new(31952)
    }
    .run()
}

/// Not `conntrack_invalid`: conntrack calls segments of another port invalid; the resets
/// are the process's own.
#[test]
fn invalid_segments_beside_resets() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::CloseUnread),
        fault: |s| {
            let strict = [("net/netfilter/nf_conntrack_tcp_loose", "0")];
            s.bed.node.sysctls(&strict)?;
            let raw = RawClient::open(&s.bed.client)?;
            for source in 4000..4020 {
                let (from, to) = (s.phantom(1, source), s.node_port(s.port + 1));
                raw.send(&Segment::new(from, to, flags::ACK, 9, 9))?;
            }
            Ok(())
        },
        traffic: |s| s.calls(4, SOON, Reply::Reset),
        expect: || vec![spoilt("closed_at_once", 4).by(0, 9090)],
        ..Scenario::new(31954)
    }
    .run()
}

/// Not `stale_conntrack`: old entries lead the SYNs to the backend that is chosen today, and
/// which has stopped.
#[test]
fn an_old_entry_of_the_right_backend() -> Result<()> {
    Scenario {
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            answered(s, &raw, flags::RST | flags::ACK)?;
            s.stop_first_server();
            s.dials_end(3, SOON, Errno::ECONNREFUSED)?;
            for source in AGAIN {
                let from = s.phantom(1, source);
                let answer = raw.syn(from, s.node_port(s.port), 1_000_000)?;
                ensure!(answer == Answer::Rst, "{answer:?}");
            }
            Ok(())
        },
        expect: || vec![failed("nothing_listens", 6).by(0, 9090)],
        ..Scenario::new(31956)
    }
    .run()
}

/// Its first SYNs are dropped by a legacy rule that is gone by the time that anybody asks,
/// and another pod's connections clash meanwhile.
const GONE: Scenario = Scenario {
    rules: testbed::Mode::IptablesLegacy,
    traffic: |s| {
        clashes(s, 4)?;
        let rule = "FORWARD -p tcp -d 10.244.0.2 --dport 9090 -j DROP";
        legacy(s, &format!("-I {rule}"))?;
        s.dials_end(3, Duration::from_millis(1500), Errno::EINPROGRESS)?;
        legacy(s, &format!("-D {rule}"))?;
        s.calls(3, SOON, Reply::Whole)
    },
    ..Scenario::new(31958)
};

/// Not `conntrack_clash` nor `snat_exhausted` for certain: conntrack has refused fewer SYNs
/// than were sent.
#[test]
fn a_rule_that_is_gone() -> Result<()> {
    let scene = Scene::new(&GONE)?;
    let tracer = scene.trace(OPTIONS)?;
    (GONE.traffic)(&scene)?;
    settled(&tracer)?;
    for _ in 0..3 {
        let (_, told) = explain(&tracer, &["--last", "60s"])?;
        let mut verdicts = told.verdicts.iter();
        let is_right = |f: &Finding| f.verdict == "dropped_by_rule" || f.certainty != "certain";
        ensure!(verdicts.all(is_right), "{told:#?}");
        std::thread::sleep(SOON);
    }
    Ok(())
}

/// Not `syn_flood`: many sources of which each goes on to its handshake's end.
#[test]
fn many_sources_that_connect() -> Result<()> {
    Scenario {
        traffic: |s| {
            let raw = RawClient::open(&s.bed.client)?;
            for source in 0..300 {
                let from = s.phantom(source, 4000);
                let answer = raw.half_open(from, s.node_port(s.port), 1)?;
                ensure!(matches!(answer, Answer::SynAck(_)), "{answer:?}");
            }
            Ok(())
        },
        ..Scenario::new(31960)
    }
    .run()
}
