//! Which attempts are reported as failures.

use tracer_common::{
    counters::Cell,
    failure::{Failed, Failure, Reply},
    flow::mark,
    machine::tcp,
    words::{Outcome, ResetOrigin, Traffic},
};

use crate::lab::{CALL, ISN, Lab, MS, S, SERVER_ISN, segment};

pub type Way = fn(&mut Lab);

pub fn run(way: Way) -> Lab {
    let mut lab = Lab::new();
    way(&mut lab);
    if lab.flow.is_some_and(|flow| flow.marks & mark::OWED != 0) {
        lab.wait(100 * MS);
    }
    assert!(lab.port.balances());
    lab
}

pub fn server_rst(lab: &mut Lab, offset: u32, origin: ResetOrigin) {
    let ack = ISN.wrapping_add(1);
    let seq = SERVER_ISN + 1 + offset;
    let mut rst = segment(false, tcp::RST | tcp::ACK, seq, ack, &[]);
    rst.origin = origin;
    lab.segment(rst, &[]);
}

/// Call, and the server's acknowledgment of it without payload.
pub fn call(lab: &mut Lab) -> &mut Lab {
    lab.data(0, CALL).reply(0, &[])
}

#[test]
fn failed_attempts() {
    let ways: [(Way, Failure, Reply); 10] = [
        (
            |lab| {
                lab.syn();
                lab.server(tcp::RST | tcp::ACK, 0, ISN.wrapping_add(1), &[]);
            },
            Failure::Refused,
            Reply::BackendRst,
        ),
        (
            |lab| {
                lab.syn();
                let ack = ISN.wrapping_add(1);
                let mut rst = segment(false, tcp::RST | tcp::ACK, 0, ack, &[]);
                rst.origin = ResetOrigin::Node;
                lab.segment(rst, &[]);
            },
            Failure::Refused,
            Reply::NodeRst,
        ),
        (
            |lab| server_rst(lab.syn().syn_ack(), 0, ResetOrigin::Backend),
            Failure::Unacked,
            Reply::BackendRst,
        ),
        (
            |lab| {
                lab.syn().unreachable(ISN);
            },
            Failure::Unreachable,
            Reply::Icmp,
        ),
        (
            |lab| {
                lab.syn().wait(6 * S);
            },
            Failure::TimedOut,
            Reply::None,
        ),
        (
            |lab| {
                lab.syn().pass(6 * S).syn_ack();
            },
            Failure::TimedOut,
            Reply::None,
        ),
        (
            |lab| {
                lab.syn().syn_ack().wait(6 * S);
            },
            Failure::Unacked,
            Reply::None,
        ),
        (
            |lab| {
                lab.syn().client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
            },
            Failure::Cancelled,
            Reply::None,
        ),
        (
            |lab| {
                lab.syn().wait(S).syn().syn_ack();
                lab.client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
            },
            Failure::Abandoned,
            Reply::None,
        ),
        (
            |lab| {
                lab.syn().wait(S).syn().syn_ack().ack();
            },
            Failure::Late,
            Reply::None,
        ),
    ];
    for (way, failure, reply) in ways {
        run(way).failures(&[(failure, reply)]);
    }
}

#[test]
fn the_report_carries_the_class_and_the_code() {
    let mut lab = Lab::new();
    let syn_at = lab.now;
    lab.syn().unreachable(ISN).wait(99 * MS);
    assert_eq!(lab.failed, [], "the hooks may have more to say");
    lab.wait(MS);
    let unreachable = Failed {
        failure: Failure::Unreachable,
        reply: Reply::Icmp,
        code: 3,
        traffic: Traffic::Unknown as u8,
        backend: 0,
        interface: 2,
        syn_at,
        at: syn_at,
    };
    assert_eq!(lab.failed, [unreachable]);
    let mut lab = Lab::new();
    lab.establish()
        .data(0, b"GET / HTTP/1.1\r\n\r\n")
        .wait(6 * S);
    let traffic = lab.failed.first().map(|f| f.traffic);
    assert_eq!(traffic, Some(Traffic::Other as u8));
}

#[test]
fn a_new_attempt_reports_the_old_one() {
    type Old = fn(&mut Lab) -> &mut Lab;
    let olds: [(Old, Failure); 5] = [
        (
            |lab| {
                server_rst(lab.establish(), 0, ResetOrigin::Backend);
                lab
            },
            Failure::ClosedAtOnce,
        ),
        (|lab| lab.syn().unreachable(ISN), Failure::Unreachable),
        (|lab| lab.syn(), Failure::Cancelled),
        (|lab| lab.syn().syn_ack(), Failure::Unacked),
        (|lab| call(lab.establish()), Failure::Unanswered),
    ];
    for (old, failure) in olds {
        let mut lab = Lab::new();
        let syn_at = lab.now;
        old(&mut lab).pass(10 * MS);
        if let Some(flow) = &mut lab.flow {
            flow.backend = 7;
        }
        lab.client(tcp::SYN, ISN.wrapping_add(5000), 0, &[]);
        let of = |f: &Failed| (f.failure, f.backend, f.syn_at);
        let found: Vec<_> = lab.failed.iter().map(of).collect();
        assert_eq!(found, [(failure, 7, syn_at)]);
        let flow = lab.flow.unwrap_or_default();
        assert_eq!((flow.backend, flow.marks), (0, 0));
        lab.wait(6 * S);
        let last = lab.failed.last().map(of);
        assert_eq!(last, Some((Failure::TimedOut, 0, syn_at + 10 * MS)));
    }
}

#[test]
fn a_refusal_that_comes_late_is_reported_before_it_is_forgotten() {
    let mut lab = Lab::new();
    // By then nobody expects the SYN again, so that the flow could go.
    lab.syn().wait(4_950 * MS).unreachable(ISN).wait(10 * MS);
    assert!(lab.flow.is_some() && !lab.spent());
    lab.wait(100 * MS);
    lab.failures(&[(Failure::Unreachable, Reply::Icmp)]);
    assert_eq!((lab.spent(), lab.get(Cell::UNREPORTED)), (true, 0));
}

#[test]
fn what_the_servers_side_resets_after_its_syn_ack_was_not_refused() {
    let reset = |lab: &mut Lab, seq, flags| {
        lab.server(flags, seq, ISN.wrapping_add(1), &[]).wait(S);
    };
    for flags in [tcp::RST, tcp::RST | tcp::ACK] {
        let mut lab = Lab::new();
        lab.syn().syn_ack();
        reset(&mut lab, SERVER_ISN + 1, flags);
        lab.outcomes(&[(Outcome::Unacked, Traffic::Unknown, 1)]);
        let reply = lab.failed[0].reply;
        assert_ne!(reply, Reply::None, "somebody sent it");
        lab.failures(&[(Failure::Unacked, reply)]);
        assert_eq!(lab.failed[0].code, 0, "no ICMP");
        // The client sends its SYN again, and is answered and reset again.
        lab.syn().syn_ack();
        reset(&mut lab, SERVER_ISN + 1, flags);
        assert_eq!((lab.attempts(), lab.failed.len()), (1, 1));
    }
}
