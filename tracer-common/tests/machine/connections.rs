//! From the completed handshake to the close.

use tracer_common::{
    counters::Cell,
    first_bytes::{MessageType, Protocol},
    machine::tcp,
    words::{Close, Outcome, ResetOrigin, Retransmit, Traffic},
};

use crate::lab::{CALL, ISN, LEN, Lab, MS, REPLY, S, SERVER_ISN};

fn open(lab: &Lab, traffic: Traffic) -> u64 {
    lab.get(Cell::open(traffic))
}

#[test]
fn short_and_silent_is_a_health_check() {
    let mut lab = Lab::new();
    lab.establish();
    assert_eq!((lab.pending(), open(&lab, Traffic::Unknown)), (1, 1));
    lab.client_fin(0);
    lab.outcomes(&[(Outcome::Established, Traffic::HealthCheck, 1)]);
    lab.server_fin(0)
        .closes(&[(Close::ClientFin, Traffic::HealthCheck, 1)]);
    assert_eq!(lab.get(Cell::connection(Traffic::HealthCheck)), 1);
    assert_eq!(open(&lab, Traffic::HealthCheck), 0);
    assert!(lab.flow.is_none());
}

#[test]
fn closed_by_reset() {
    let mut lab = Lab::new();
    lab.establish()
        .client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
    lab.closes(&[(Close::ClientRst, Traffic::HealthCheck, 1)]);
    assert_eq!(lab.get(Cell::reset(ResetOrigin::Client)), 1);
    let mut lab = Lab::new();
    lab.establish()
        .server(tcp::RST | tcp::ACK, SERVER_ISN + 1, 0, &[]);
    lab.closes(&[(Close::ServerRst, Traffic::HealthCheck, 1)]);
}

#[test]
fn reset_outside_the_window_is_ignored() {
    let mut lab = Lab::new();
    lab.establish()
        .client(tcp::RST, ISN.wrapping_add(1 << 24), 0, &[]);
    assert!(lab.established());
    assert_eq!(lab.get(Cell::reset(ResetOrigin::Client)), 0);
}

#[test]
fn thrift_call_and_reply() {
    let mut lab = Lab::new();
    lab.establish()
        .data(0, CALL)
        .reply(0, REPLY)
        .client_fin(LEN)
        .server_fin(LEN);
    lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
    lab.closes(&[(Close::ClientFin, Traffic::Thrift, 1)]);
    let messages = |kind| lab.get(Cell::message(kind, Protocol::Binary));
    assert_eq!(
        (messages(MessageType::Call), messages(MessageType::Reply)),
        (1, 1)
    );
}

#[test]
fn messages_after_the_first_are_counted_and_retransmissions_are_not() {
    let mut lab = Lab::new();
    lab.establish()
        .data(0, CALL)
        .data(LEN, CALL)
        .data(LEN, CALL);
    assert_eq!(
        lab.get(Cell::message(MessageType::Call, Protocol::Binary)),
        2
    );
    assert_eq!(lab.retransmits(Retransmit::Data), 1);
}

#[test]
fn first_bytes_split_and_retransmitted_with_more() {
    let mut lab = Lab::new();
    // The frame's length alone, then that and the message in one segment.
    let frame = [&LEN.to_be_bytes()[..], CALL].concat();
    lab.establish().data(0, &frame[..4]);
    lab.outcomes(&[]);
    lab.data(0, &frame)
        .outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
}

#[test]
fn idle_then_thrift() {
    let mut lab = Lab::new();
    lab.establish().wait(5 * S);
    lab.outcomes(&[(Outcome::Established, Traffic::Idle, 1)]);
    assert_eq!(
        (open(&lab, Traffic::Idle), open(&lab, Traffic::Unknown)),
        (1, 0)
    );
    assert_eq!(lab.get(Cell::connection(Traffic::Idle)), 0);
    lab.data(0, CALL);
    lab.outcomes(&[(Outcome::Established, Traffic::Idle, 1)]);
    assert_eq!(lab.get(Cell::connection(Traffic::Thrift)), 1);
    assert_eq!(
        (open(&lab, Traffic::Idle), open(&lab, Traffic::Thrift)),
        (0, 1)
    );
}

#[test]
fn idle_until_closed_with_and_without_sweeps() {
    for swept in [true, false] {
        let mut lab = Lab::new();
        lab.establish();
        if swept {
            lab.wait(60 * S)
        } else {
            lab.pass(60 * S)
        };
        lab.client_fin(0).server_fin(0);
        lab.outcomes(&[(Outcome::Established, Traffic::Idle, 1)]);
        lab.closes(&[(Close::ClientFin, Traffic::Idle, 1)]);
        assert_eq!(lab.get(Cell::connection(Traffic::Idle)), 1);
    }
}

#[test]
fn server_closes_first() {
    let mut lab = Lab::new();
    lab.establish().server_fin(0);
    lab.outcomes(&[]);
    lab.client_fin(0)
        .closes(&[(Close::ServerFin, Traffic::HealthCheck, 1)]);
}

#[test]
fn reset_after_a_fin_is_the_first_closers() {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL).server_fin(0);
    lab.client(tcp::RST, ISN.wrapping_add(1 + LEN), 0, &[]);
    lab.closes(&[(Close::ServerFin, Traffic::Thrift, 1)]);
}

#[test]
fn data_with_fin() {
    let mut lab = Lab::new();
    let flags = tcp::FIN | tcp::ACK;
    lab.establish()
        .client(flags, ISN.wrapping_add(1), SERVER_ISN + 1, CALL);
    lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
}

#[test]
fn a_few_bytes_that_are_no_message() {
    let mut lab = Lab::new();
    lab.establish().data(0, &[0, 0]).client_fin(2);
    lab.outcomes(&[(Outcome::Established, Traffic::Other, 1)]);
}

#[test]
fn bytes_after_a_hole_cannot_be_told() {
    let mut lab = Lab::new();
    lab.establish().data(100, CALL).wait(5 * S);
    lab.outcomes(&[(Outcome::Established, Traffic::Unknown, 1)]);
    // The missing bytes come after all.
    lab.data(0, CALL);
    assert_eq!(lab.get(Cell::connection(Traffic::Thrift)), 1);
}

#[test]
fn forgotten_connections_are_given_up() {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL).wait(3600 * S);
    lab.closes(&[(Close::TimeoutIdle, Traffic::Thrift, 1)]);
    assert!(lab.flow.is_none());
    let mut lab = Lab::new();
    lab.establish().data(0, CALL).client_fin(LEN).wait(120 * S);
    lab.closes(&[(Close::TimeoutIdle, Traffic::Thrift, 1)]);
}

#[test]
fn packets_keep_a_connection_alive() {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL);
    for i in 1..4 {
        lab.wait(3599 * S).data(LEN * i, CALL);
    }
    assert!(lab.established());
}

#[test]
fn keep_alive_probes_are_no_retransmissions() {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL);
    lab.data(LEN - 1, &[0]).data(LEN - 1, &[]);
    assert_eq!(lab.retransmits(Retransmit::Data), 0);
}

#[test]
fn server_retransmission() {
    let mut lab = Lab::new();
    lab.establish()
        .data(0, CALL)
        .reply(0, REPLY)
        .wait(200 * MS)
        .reply(0, REPLY);
    assert_eq!(lab.retransmits(Retransmit::Data), 1);
    assert_eq!(
        lab.get(Cell::message(MessageType::Reply, Protocol::Binary)),
        1
    );
}

#[test]
fn syn_ack_retransmitted_after_the_ack() {
    let mut lab = Lab::new();
    lab.establish().syn_ack();
    assert_eq!(lab.retransmits(Retransmit::SynAck), 1);
    assert!(lab.established());
}

#[test]
fn a_connection_replaced_by_a_new_one_on_its_tuple() {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL).client(tcp::SYN, 42, 0, &[]);
    lab.closes(&[(Close::TimeoutIdle, Traffic::Thrift, 1)]);
    assert_eq!((lab.attempts(), lab.pending()), (2, 1));
}

#[test]
fn probe_method_is_a_health_check() {
    let mut lab = Lab::new();
    lab.limits.probes.push("ping").unwrap();
    lab.establish().data(0, CALL);
    lab.outcomes(&[(Outcome::Established, Traffic::HealthCheck, 1)]);
    assert_eq!(
        lab.get(Cell::message(MessageType::Call, Protocol::Binary)),
        1
    );
}

#[test]
fn http_is_other() {
    let mut lab = Lab::new();
    lab.establish()
        .data(0, b"GET / HTTP/1.1\r\n\r\n")
        .reply(0, b"HTTP/1.1 200 OK\r\n");
    lab.outcomes(&[(Outcome::Established, Traffic::Other, 1)]);
}

#[test]
fn bytes_that_were_missed_are_no_health_check() {
    let mut lab = Lab::new();
    lab.establish().client_fin(LEN);
    lab.outcomes(&[(Outcome::Established, Traffic::Unknown, 1)]);
    let mut lab = Lab::new();
    lab.establish()
        .client(tcp::RST, ISN.wrapping_add(61), 0, &[]);
    lab.outcomes(&[(Outcome::Established, Traffic::Unknown, 1)]);
}
