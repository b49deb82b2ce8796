//! Segments that somebody else made, or that come too late: they move nothing.

use proptest::prelude::*;
use tracer_common::{
    counters::Cell,
    machine::tcp,
    words::{Close, Outcome, Traffic},
};

use crate::lab::{CALL, ISN, LEN, Lab, REPLY, S, SERVER_ISN};

/// What counts as near: 1 MiB.
const NEAR: u32 = 1 << 20;

fn thrift() -> Lab {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL).reply(0, REPLY);
    lab
}

/// The client's own end, and the server's.
fn end(lab: &mut Lab) {
    let client = ISN.wrapping_add(1 + LEN);
    let server = SERVER_ISN + 1 + LEN;
    lab.client(tcp::FIN | tcp::ACK, client, server, &[]).server(
        tcp::FIN | tcp::ACK,
        server,
        client.wrapping_add(1),
        &[],
    );
}

#[test]
fn data_for_an_expired_connection_does_not_keep_it() {
    let expire = u64::from(Lab::new().limits.expire_after_s) * S;
    for to_node in [true, false] {
        let mut lab = thrift();
        lab.pass(expire);
        if to_node {
            lab.data(LEN, CALL);
        } else {
            lab.reply(LEN, REPLY);
        }
        assert!(lab.flow.is_none());
        lab.closes(&[(Close::TimeoutIdle, Traffic::Thrift, 1)]);
    }
}

#[test]
fn data_in_time_keeps_it() {
    let expire = u64::from(Lab::new().limits.expire_after_s) * S;
    let mut lab = thrift();
    lab.pass(expire - S)
        .data(LEN, CALL)
        .pass(expire - S)
        .wait(0);
    assert!(lab.established());
}

#[test]
fn a_half_closed_connection_expires_before_its_data() {
    let mut lab = thrift();
    let half_closed = u64::from(lab.limits.half_closed_after_s) * S;
    let (client, server) = (ISN.wrapping_add(1 + LEN), SERVER_ISN + 1 + LEN);
    lab.client(tcp::FIN | tcp::ACK, client, server, &[])
        .pass(half_closed)
        .reply(LEN, REPLY);
    assert!(lab.flow.is_none());
    lab.closes(&[(Close::TimeoutIdle, Traffic::Thrift, 1)]);
}

#[test]
fn bytes_that_were_missed_are_skipped() {
    let mut lab = thrift();
    // 512 MiB that no tap saw; what follows acknowledges the server as before.
    let gap = 1 << 29;
    lab.data(LEN + gap, CALL);
    let client = ISN.wrapping_add(1 + 2 * LEN + gap);
    lab.client(tcp::RST | tcp::ACK, client, 0, &[]);
    lab.closes(&[(Close::ClientRst, Traffic::Thrift, 1)]);
}

#[test]
fn a_forged_hole_hides_nothing() {
    let mut lab = Lab::new();
    let far = ISN.wrapping_add(1 + (1 << 29));
    lab.establish()
        .client(tcp::ACK, far, SERVER_ISN.wrapping_add(1 << 29), b"forged")
        .client_fin(0);
    lab.outcomes(&[(Outcome::Established, Traffic::HealthCheck, 1)]);
}

proptest! {
    #[test]
    fn forged_data_does_not_delay_the_close(
        to_node in any::<bool>(),
        seq in NEAR + LEN..=u32::MAX - NEAR - LEN,
        ack in NEAR + LEN..=u32::MAX - NEAR - LEN,
        flags in prop_oneof![Just(tcp::ACK), Just(0), Just(tcp::FIN), Just(tcp::RST | tcp::ACK)],
    ) {
        let mut lab = thrift();
        let (client, server) = (ISN.wrapping_add(1 + LEN), SERVER_ISN + 1 + LEN);
        if to_node {
            lab.client(flags, client.wrapping_add(seq), server.wrapping_add(ack), CALL);
        } else {
            lab.server(flags, server.wrapping_add(seq), client.wrapping_add(ack), REPLY);
        }
        end(&mut lab);
        prop_assert!(lab.flow.is_none());
        prop_assert_eq!(lab.get(Cell::close(Close::ClientFin, Traffic::Thrift)), 1);
    }
}
