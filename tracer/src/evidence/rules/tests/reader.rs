//! When rules are read, and what is said where they cannot be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use caps::{CapSet, Capability};
use tracer_common::failure::{Failure, Reply, seen};

use super::bed::{CLIENT, NODE, apart, run, sh, syn};
use crate::evidence::{
    Row,
    rules::{Reader, RuleSets},
};

const WINDOW: Duration = Duration::from_secs(60);

fn row(failure: Failure, reply: Reply) -> Row {
    Row {
        dialled: Some(NODE.parse().unwrap()),
        sources: vec![(CLIENT.parse().unwrap(), 1)],
        ..Row::new(30001, failure, reply)
    }
}

fn ask(reader: &mut Reader, rows: &[Row]) -> Arc<RuleSets> {
    let mut absent = Vec::new();
    let rules = reader.ask(rows, WINDOW, &mut absent);
    assert_eq!(absent, []);
    rules
}

#[test]
fn only_failures_that_rules_can_cause_call_for_it() {
    apart(|| {
        let mut reader = Reader::default();
        let asks = |reader: &mut Reader, row: Row| ask(reader, &[row]).is_known();
        assert!(!ask(&mut reader, &[]).is_known());
        for (failure, reply) in [
            (Failure::Refused, Reply::BackendRst),
            (Failure::Late, Reply::None),
            (Failure::Unanswered, Reply::None),
        ] {
            assert!(!asks(&mut reader, row(failure, reply)), "{failure:?}");
        }
        for (failure, reply) in [
            (Failure::TimedOut, Reply::None),
            (Failure::Refused, Reply::NodeRst),
            (Failure::Unreachable, Reply::Icmp),
        ] {
            assert!(asks(&mut reader, row(failure, reply)), "{failure:?}");
        }
        let late = Row {
            seen: seen::DROPPED_SYN,
            ..row(Failure::Late, Reply::None)
        };
        assert!(asks(&mut reader, late));
    });
}

#[test]
fn what_was_just_read_is_not_read_again() {
    apart(|| {
        let mut reader = Reader::default();
        let rows = [row(Failure::TimedOut, Reply::None)];
        let first = ask(&mut reader, &rows);
        assert!(Arc::ptr_eq(&first, &ask(&mut reader, &rows)));
        // Nor for another window, nor for less.
        let mut absent = Vec::new();
        let longer = reader.ask(&rows, 2 * WINDOW, &mut absent);
        assert!(!Arc::ptr_eq(&first, &longer) && Arc::ptr_eq(&first.read, &longer.read));
        let first = ask(&mut reader, &rows);
        // Another question may take other sets.
        let others = [
            row(Failure::TimedOut, Reply::None),
            row(Failure::Unreachable, Reply::Icmp),
        ];
        let mut others = others.to_vec();
        others[1].node_port += 1;
        let both = ask(&mut reader, &others);
        assert!(!Arc::ptr_eq(&first.read, &both.read));
        assert!(Arc::ptr_eq(&both, &ask(&mut reader, &rows)));
    });
}

#[test]
fn what_is_too_old_is_given_back() {
    apart(|| {
        let mut reader = Reader::default();
        let read = Arc::downgrade(&ask(&mut reader, &[row(Failure::TimedOut, Reply::None)]));
        reader.forget();
        assert!(read.upgrade().is_some());
        std::thread::sleep(Duration::from_millis(1_100));
        reader.forget();
        assert!(read.upgrade().is_none());
    });
}

#[test]
fn without_the_capability_the_reason_is_told() {
    apart(|| {
        sh("iptables-legacy -A INPUT -j ACCEPT; nft add table ip t");
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let mut absent = Vec::new();
        let rows = [row(Failure::TimedOut, Reply::None)];
        let rules = Reader::default().ask(&rows, WINDOW, &mut absent);
        assert!(!rules.trace(&syn(30001)).complete);
        assert_eq!(absent.len(), 1, "{absent:?}");
        assert_eq!(absent[0].source, "rule sets of the node");
        for part in [
            "iptables-legacy, table filter: not permitted",
            "nftables: not permitted",
            "CAP_NET_ADMIN",
        ] {
            assert!(absent[0].why.contains(part), "{}", absent[0].why);
        }
    });
}

/// Asking for a table of iptables-legacy makes the kernel create it.
#[test]
fn reading_creates_nothing() {
    apart(|| {
        let names = || {
            let read = |file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
            ["ip_tables_names", "ip6_tables_names"].map(|file| read(file).unwrap_or_default())
        };
        let before = names();
        assert_eq!(before, ["", ""]);
        ask(
            &mut Reader::default(),
            &[row(Failure::TimedOut, Reply::None)],
        );
        assert_eq!(names(), before);
    });
}

/// What a bridge does with frames is not read, so that nobody can say that no rule took
/// the SYN.
#[test]
fn rules_for_frames_leave_it_open() {
    let traced = |reader: &mut Reader| {
        let mut absent = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        let (syns, window) = ([syn(30001)], Duration::from_secs(60));
        let rules = reader.rules(&syns, window, deadline, &mut absent);
        let told: String = absent.iter().map(|absent| absent.why.as_str()).collect();
        (rules.trace(&syns[0]), told)
    };
    apart(|| {
        let mut reader = Reader::default();
        let accept = "table inet t { chain c { type filter hook input priority 0; }; }";
        run(&["nft", "-f", "-"], accept);
        // Nothing calls a chain without a hook.
        run(
            &["nft", "-f", "-"],
            "table bridge fence { chain idle { drop; }; }",
        );
        let (idle, told) = traced(&mut reader);
        assert!(idle.complete && idle.complete_before_dnat, "{told}");
        run(
            &["nft", "-f", "-"],
            "table bridge fence { chain c { type filter hook forward priority 0; drop; }; }",
        );
        let (open, told) = traced(&mut reader);
        assert!(!open.complete && !open.complete_before_dnat);
        assert!(told.contains("table bridge fence"), "{told}");
        // It is the only one.
        run(&["nft", "delete", "table", "inet", "t"], "");
        let (alone, told) = traced(&mut reader);
        assert!(!alone.complete && told.contains("bridge"), "{told}");
    });
}
