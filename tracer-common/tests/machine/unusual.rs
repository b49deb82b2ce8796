//! Unusual ways to a connection: lost segments, simultaneous open, Fast Open.

use tracer_common::{
    machine::tcp,
    words::{Outcome, Retransmit, Traffic},
};

use crate::lab::{ISN, Lab, S, SERVER_ISN};

const UNKNOWN: Traffic = Traffic::Unknown;
const PROBE: Traffic = Traffic::HealthCheck;

#[test]
fn final_ack_lost_and_covered_by_data() {
    let mut lab = Lab::new();
    lab.syn().syn_ack().data(0, b"GET / HTTP/1.1\r\n");
    lab.outcomes(&[(Outcome::Established, Traffic::Other, 1)]);
}

#[test]
fn fin_in_place_of_the_final_ack() {
    let mut lab = Lab::new();
    lab.syn().syn_ack().client_fin(0);
    lab.outcomes(&[(Outcome::Established, PROBE, 1)]);
}

#[test]
fn ack_of_something_else_does_not_establish() {
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    lab.client(tcp::ACK, ISN.wrapping_add(1), SERVER_ISN, &[]);
    lab.client(tcp::ACK, ISN, SERVER_ISN + 1, &[]);
    assert!(!lab.established());
}

#[test]
fn syn_ack_of_another_backend_replaces_the_first() {
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    lab.server(tcp::SYN | tcp::ACK, 50_000, ISN.wrapping_add(1), &[]);
    assert_eq!(lab.retransmits(Retransmit::SynAck), 0);
    lab.client(tcp::ACK, ISN.wrapping_add(1), 50_001, &[]);
    assert!(lab.established());
}

#[test]
fn syn_ack_that_does_not_answer_this_syn() {
    let mut lab = Lab::new();
    lab.syn()
        .server(tcp::SYN | tcp::ACK, SERVER_ISN, ISN.wrapping_add(5), &[]);
    lab.wait(5 * S).outcomes(&[(Outcome::TimedOut, UNKNOWN, 1)]);
}

#[test]
fn simultaneous_open() {
    let mut lab = Lab::new();
    lab.syn().server(tcp::SYN, SERVER_ISN, 0, &[]);
    lab.client(tcp::SYN | tcp::ACK, ISN, SERVER_ISN + 1, &[]);
    assert!(lab.established());
    // The other order: the node's SYN-ACK first.
    let mut lab = Lab::new();
    lab.syn().server(tcp::SYN, SERVER_ISN, 0, &[]).syn_ack();
    lab.client(tcp::SYN | tcp::ACK, ISN, SERVER_ISN + 1, &[]);
    assert!(lab.established());
}

#[test]
fn established_although_the_syn_ack_was_not_seen() {
    let mut lab = Lab::new();
    lab.syn().ack();
    assert!(lab.established());
    lab.client_fin(0).server_fin(0);
    lab.outcomes(&[(Outcome::Established, PROBE, 1)]);
}

#[test]
fn fast_open_accepted() {
    let request = b"GET / HTTP/1.1\r\n";
    let mut lab = Lab::new();
    lab.client(tcp::SYN, ISN, 0, request);
    lab.outcomes(&[]);
    let after = ISN.wrapping_add(1 + request.len() as u32);
    lab.server(tcp::SYN | tcp::ACK, SERVER_ISN, after, &[]);
    lab.client(tcp::ACK, after, SERVER_ISN + 1, &[]);
    lab.outcomes(&[(Outcome::Established, Traffic::Other, 1)]);
}

#[test]
fn fast_open_refused_then_sent_again() {
    let mut lab = Lab::new();
    lab.client(tcp::SYN, ISN, 0, b"\x80\x01\x00\x01\x00\x00\x00\x04ping");
    lab.syn_ack().ack();
    assert_eq!(lab.pending(), 1);
    lab.data(0, b"GET / HTTP/1.1\r\n");
    lab.outcomes(&[(Outcome::Established, Traffic::Other, 1)]);
    assert_eq!(lab.retransmits(Retransmit::Data), 0);
}

#[test]
fn fast_open_reset() {
    let mut lab = Lab::new();
    lab.client(tcp::SYN, ISN, 0, b"abcd");
    lab.server(tcp::RST | tcp::ACK, 0, ISN.wrapping_add(5), &[]);
    lab.outcomes(&[(Outcome::Refused, UNKNOWN, 1)]);
}
