//! From SYN to outcome.

use tracer_common::{
    counters::{Cell, latency_bucket},
    machine::tcp,
    words::{Answer, Outcome, ResetOrigin, Retransmit, Traffic},
};

use crate::lab::{ISN, Lab, MS, S, SERVER_ISN, segment};

const UNKNOWN: Traffic = Traffic::Unknown;
const PROBE: Traffic = Traffic::HealthCheck;

#[test]
fn refused() {
    let mut lab = Lab::new();
    lab.syn().pass(300_000);
    lab.server(tcp::RST | tcp::ACK, 0, ISN.wrapping_add(1), &[]);
    lab.outcomes(&[(Outcome::Refused, UNKNOWN, 1)]);
    assert_eq!(lab.get(Cell::reset(ResetOrigin::Backend)), 1);
    assert_eq!(
        lab.get(Cell::latency(Answer::Rst, latency_bucket(300_000))),
        1
    );
    assert_eq!(lab.get(Cell::latency_sum(Answer::Rst)), 300_000);
    assert_eq!(lab.pending(), 0);
}

#[test]
fn reset_with_wrong_ack_is_ignored() {
    let mut lab = Lab::new();
    lab.syn();
    lab.server(tcp::RST | tcp::ACK, 0, ISN.wrapping_add(2), &[]);
    lab.server(tcp::RST, 5, 0, &[]);
    lab.client(tcp::RST, ISN.wrapping_add(99), 0, &[]);
    lab.outcomes(&[]);
    assert_eq!(lab.pending(), 1);
    assert_eq!(lab.get(Cell::reset(ResetOrigin::Backend)), 0);
}

#[test]
fn half_open_with_and_without_ack_flag() {
    for (flags, ack) in [(tcp::RST, 0), (tcp::RST | tcp::ACK, SERVER_ISN + 1)] {
        let mut lab = Lab::new();
        lab.syn().syn_ack();
        lab.client(flags, ISN.wrapping_add(1), ack, &[]);
        lab.outcomes(&[(Outcome::HalfOpen, PROBE, 1)]);
        assert_eq!(lab.get(Cell::reset(ResetOrigin::Client)), 1);
    }
}

#[test]
fn unreachable_by_quote_only() {
    let mut lab = Lab::new();
    lab.syn().unreachable(ISN.wrapping_add(1)).outcomes(&[]);
    lab.unreachable(ISN);
    lab.outcomes(&[(Outcome::Unreachable, UNKNOWN, 1)]);
    // The kernel of a client whose socket is busy sends the SYN once more.
    lab.wait(S).syn().unreachable(ISN);
    lab.outcomes(&[(Outcome::Unreachable, UNKNOWN, 1)]);
    assert_eq!((lab.attempts(), lab.retransmits(Retransmit::Syn)), (1, 1));
}

#[test]
fn unreachable_after_an_answer_changes_nothing() {
    let mut lab = Lab::new();
    lab.syn().syn_ack().unreachable(ISN).ack();
    assert!(lab.established());
}

#[test]
fn timed_out_counts_once_over_all_retransmissions() {
    let mut lab = Lab::new();
    lab.syn();
    for gap in [1, 2, 4, 8, 16, 32, 64] {
        for _ in 0..gap {
            lab.wait(S);
        }
        lab.syn();
    }
    assert_eq!(lab.attempts(), 1);
    assert_eq!(lab.retransmits(Retransmit::Syn), 7);
    lab.outcomes(&[(Outcome::TimedOut, UNKNOWN, 1)]);
    lab.wait(300 * S);
    assert!(lab.flow.is_none());
}

#[test]
fn an_attempt_is_one_however_far_its_syns_are_apart() {
    // Constant; the first ones lost before the node; 120 s is Linux' longest.
    let schedules: [&[u64]; 6] = [
        &[0, 10, 20, 30],
        &[15, 31, 63],
        &[0, 7, 15],
        &[0, 1, 3, 7, 15, 31, 63],
        &[63, 127],
        &[0, 120, 240, 360],
    ];
    for seconds in schedules {
        // Whatever answers, the client does not see it and sends its SYN again.
        let answers: [fn(&mut Lab) -> &mut Lab; 4] = [
            |lab| lab,
            Lab::syn_ack,
            Lab::rst_to_syn,
            |lab| lab.unreachable(ISN),
        ];
        for answer in answers {
            let mut lab = Lab::new();
            for pair in seconds.windows(2).chain([&[0_u64, 0][..]]) {
                lab.syn();
                answer(&mut lab);
                for _ in 0..pair[1] - pair[0] {
                    lab.wait(S);
                }
            }
            assert_eq!(lab.attempts(), 1, "{seconds:?}");
            assert_eq!(lab.retransmits(Retransmit::Syn), seconds.len() as u64 - 1);
            lab.wait(130 * S);
            assert!(lab.flow.is_none(), "{seconds:?}");
        }
    }
}

#[test]
fn what_a_client_has_given_up_itself_is_forgotten_soon() {
    let mut lab = Lab::new();
    lab.syn()
        .syn_ack()
        .client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
    lab.wait(3 * S);
    assert!(lab.flow.is_some());
    lab.wait(2 * S);
    assert!(lab.flow.is_none());
}

#[test]
fn late_answer_to_a_timed_out_attempt_changes_nothing() {
    let mut lab = Lab::new();
    lab.syn()
        .wait(S)
        .syn()
        .wait(2 * S)
        .syn()
        .wait(3 * S)
        .syn_ack()
        .ack();
    lab.outcomes(&[(Outcome::TimedOut, UNKNOWN, 1)]);
    assert!(!lab.established());
}

#[test]
fn timeout_does_not_depend_on_the_sweep() {
    let mut lab = Lab::new();
    lab.syn().pass(5 * S).syn_ack().ack();
    lab.outcomes(&[(Outcome::TimedOut, UNKNOWN, 1)]);
}

#[test]
fn unacked() {
    let mut lab = Lab::new();
    lab.syn().syn_ack().wait(S).syn_ack().wait(2 * S).syn_ack();
    assert_eq!(lab.retransmits(Retransmit::SynAck), 2);
    lab.outcomes(&[]).closes(&[]);
    lab.wait(2 * S).outcomes(&[(Outcome::Unacked, UNKNOWN, 1)]);
    assert_eq!(lab.get(Cell::latency(Answer::SynAck, 0)), 1);
}

#[test]
fn unacked_is_one_attempt_over_all_retransmissions() {
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    for gap in [1, 1, 1, 1, 1, 2, 4, 8, 16] {
        for _ in 0..gap {
            lab.wait(S);
        }
        lab.syn().syn_ack();
    }
    assert_eq!(lab.attempts(), 1);
    assert_eq!(lab.retransmits(Retransmit::Syn), 9);
    assert_eq!(lab.retransmits(Retransmit::SynAck), 9);
    lab.outcomes(&[(Outcome::Unacked, UNKNOWN, 1)]);
    lab.wait(200 * S);
    assert!(lab.flow.is_none());
}

#[test]
fn cancelled_by_reset_or_fin() {
    for flags in [tcp::RST, tcp::RST | tcp::ACK, tcp::FIN, tcp::FIN | tcp::ACK] {
        let mut lab = Lab::new();
        lab.syn().client(flags, ISN.wrapping_add(1), 0, &[]);
        lab.outcomes(&[(Outcome::Cancelled, UNKNOWN, 1)]);
    }
}

#[test]
fn new_isn_on_a_pending_tuple_is_a_new_attempt() {
    let mut lab = Lab::new();
    lab.syn().client(tcp::SYN, 42, 0, &[]);
    lab.outcomes(&[(Outcome::Cancelled, UNKNOWN, 1)]);
    assert_eq!((lab.attempts(), lab.pending()), (2, 1));
    lab.server(tcp::RST | tcp::ACK, 0, 43, &[]);
    lab.outcomes(&[
        (Outcome::Refused, UNKNOWN, 1),
        (Outcome::Cancelled, UNKNOWN, 1),
    ]);
}

#[test]
fn new_isn_on_an_answered_tuple() {
    let mut lab = Lab::new();
    lab.syn().syn_ack().client(tcp::SYN, 42, 0, &[]);
    lab.outcomes(&[(Outcome::Unacked, UNKNOWN, 1)]);
    assert_eq!((lab.attempts(), lab.pending()), (2, 1));
}

#[test]
fn syn_to_a_tuple_in_time_wait() {
    let mut lab = Lab::new();
    lab.establish().client_fin(0).server_fin(0);
    assert!(lab.flow.is_none());
    // RFC 9293, 3.6.1: a bare ACK of old numbers, the client's RST, then again.
    let isn = 99_000;
    lab.client(tcp::SYN, isn, 0, &[]);
    lab.server(tcp::ACK, SERVER_ISN + 2, ISN.wrapping_add(2), &[]);
    lab.client(tcp::RST, ISN.wrapping_add(2), 0, &[]);
    lab.wait(MS).client(tcp::SYN, isn, 0, &[]);
    lab.server(tcp::SYN | tcp::ACK, 5, isn + 1, &[]);
    lab.client(tcp::ACK, isn + 1, 6, &[]);
    assert!(lab.established());
    assert_eq!((lab.attempts(), lab.retransmits(Retransmit::Syn)), (2, 1));
    lab.outcomes(&[(Outcome::Established, PROBE, 1)]);
}

#[test]
fn a_dial_of_the_node_itself_is_no_attempt() {
    let mut lab = Lab::new();
    lab.server(tcp::SYN, SERVER_ISN, 0, &[]);
    lab.client(tcp::SYN | tcp::ACK, ISN, SERVER_ISN + 1, &[]);
    assert!(lab.flow.is_none());
    assert_eq!(lab.attempts(), 0);
}

#[test]
fn probe_sources_are_health_checks_whatever_happens() {
    let mut lab = Lab::new();
    let mut syn = segment(true, tcp::SYN, ISN, 0, &[]);
    syn.probe_source = true;
    lab.segment(syn, &[])
        .server(tcp::RST | tcp::ACK, 0, ISN.wrapping_add(1), &[]);
    lab.outcomes(&[(Outcome::Refused, PROBE, 1)]);
    let mut lab = Lab::new();
    lab.segment(syn, &[])
        .syn_ack()
        .ack()
        .data(0, b"GET / HTTP/1.0\r\n\r\n");
    lab.outcomes(&[(Outcome::Established, PROBE, 1)]);
}

#[test]
fn silence_where_no_check_goes_is_no_check() {
    let mut syn = segment(true, tcp::SYN, ISN, 0, &[]);
    syn.unchecked = true;
    let opened = |syn| {
        let mut lab = Lab::new();
        lab.segment(syn, &[]).syn_ack();
        lab
    };
    let mut lab = opened(syn);
    lab.ack().client_fin(0).server_fin(0);
    lab.outcomes(&[(Outcome::Established, Traffic::Unknown, 1)]);
    let mut lab = opened(syn);
    lab.client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
    lab.outcomes(&[(Outcome::HalfOpen, Traffic::Unknown, 1)]);
    // What is known better stays: bytes, idle time, the operator's word.
    let mut lab = opened(syn);
    lab.ack().wait(6 * S).client_fin(0).server_fin(0);
    lab.outcomes(&[(Outcome::Established, Traffic::Idle, 1)]);
    let mut lab = opened(syn);
    lab.ack().data(0, b"GET / HTTP/1.0\r\n\r\n");
    lab.outcomes(&[(Outcome::Established, Traffic::Other, 1)]);
    syn.probe_source = true;
    let mut lab = opened(syn);
    lab.client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
    lab.outcomes(&[(Outcome::HalfOpen, PROBE, 1)]);
}

#[test]
fn a_packet_on_several_interfaces_counts_once() {
    let mut lab = Lab::new();
    let on = |ifindex, to_node, flags, seq, ack| {
        let mut s = segment(to_node, flags, seq, ack, &[]);
        s.ifindex = ifindex;
        s
    };
    for ifindex in [2, 3] {
        lab.segment(on(ifindex, true, tcp::SYN, ISN, 0), &[]);
    }
    // The answer passes them the other way round.
    for ifindex in [3, 2] {
        let ack = ISN.wrapping_add(1);
        lab.segment(
            on(ifindex, false, tcp::SYN | tcp::ACK, SERVER_ISN, ack),
            &[],
        );
    }
    for ifindex in [2, 3] {
        lab.segment(
            on(ifindex, true, tcp::ACK, ISN.wrapping_add(1), SERVER_ISN + 1),
            &[],
        );
    }
    assert!(lab.established());
    assert_eq!(lab.attempts(), 1);
    assert_eq!(lab.retransmits(Retransmit::Syn), 0);
    assert_eq!(lab.retransmits(Retransmit::SynAck), 0);
}
