//! Which connections are reported as failures.

use tracer_common::{
    counters::Cell,
    failure::{Failure, Reply},
    machine::tcp,
    words::{Outcome, ResetOrigin, Traffic},
};

use crate::lab::{CALL, ISN, LEN, Lab, MS, REPLY, S, segment};

use crate::failures::{Way, call, run, server_rst};

#[test]
fn failed_connections() {
    let ways: [(Way, Failure, Reply); 12] = [
        (
            |lab| {
                lab.establish().server_fin(0).client_fin(0);
            },
            Failure::ClosedAtOnce,
            Reply::None,
        ),
        (
            |lab| server_rst(lab.establish(), 0, ResetOrigin::Backend),
            Failure::ClosedAtOnce,
            Reply::BackendRst,
        ),
        (
            |lab| server_rst(call(lab.establish()), 0, ResetOrigin::Node),
            Failure::ClosedAtOnce,
            Reply::NodeRst,
        ),
        (
            |lab| {
                server_rst(
                    call(lab.establish()).reply(0, REPLY),
                    LEN,
                    ResetOrigin::Backend,
                );
            },
            Failure::Reset,
            Reply::BackendRst,
        ),
        // Its payload was missed, but its number tells.
        (
            |lab| server_rst(call(lab.establish()), LEN, ResetOrigin::Backend),
            Failure::Reset,
            Reply::BackendRst,
        ),
        (
            |lab| {
                call(lab.establish()).client_fin(LEN).server_fin(0);
            },
            Failure::Unanswered,
            Reply::None,
        ),
        (
            |lab| {
                call(lab.establish()).client(tcp::RST, ISN.wrapping_add(1 + LEN), 0, &[]);
            },
            Failure::Unanswered,
            Reply::None,
        ),
        (
            |lab| {
                server_rst(
                    call(lab.establish()).client_fin(LEN),
                    0,
                    ResetOrigin::Backend,
                );
            },
            Failure::Unanswered,
            Reply::BackendRst,
        ),
        // The threshold counts from the message.
        (
            |lab| {
                call(lab.establish().wait(60 * S)).wait(6 * S);
            },
            Failure::Unanswered,
            Reply::None,
        ),
        // A late reply takes nothing back, whatever comes then.
        (
            |lab| {
                call(lab.establish()).wait(6 * S).reply(0, REPLY);
                server_rst(lab, LEN, ResetOrigin::Backend);
            },
            Failure::Unanswered,
            Reply::None,
        ),
        (
            |lab| {
                call(lab.establish()).wait(6 * S).wait(6 * S);
                lab.client_fin(LEN).server_fin(0);
            },
            Failure::Unanswered,
            Reply::None,
        ),
        (
            |lab| {
                call(lab.establish()).pass(3601 * S).wait(0);
            },
            Failure::Unanswered,
            Reply::None,
        ),
    ];
    for (way, failure, reply) in ways {
        run(way).failures(&[(failure, reply)]);
    }
}

#[test]
fn an_answer_must_be_seen_to_be_missed() {
    let mut lab = Lab::new();
    // The tap sees the client's side alone.
    lab.syn().ack().data(0, CALL).wait(60 * S);
    lab.client(tcp::RST, ISN.wrapping_add(1 + LEN), 0, &[]);
    lab.failures(&[]);
}

#[test]
fn a_configured_source_is_left_alone_by_the_server() {
    let mut lab = Lab::new();
    let mut syn = segment(true, tcp::SYN, ISN, 0, &[]);
    syn.probe_source = true;
    lab.segment(syn, &[]).syn_ack().ack().server_fin(0);
    lab.failures(&[]);
}

#[test]
fn a_late_connection_still_counts_as_established() {
    let mut lab = Lab::new();
    lab.syn().wait(S).syn().wait(2 * S).syn_ack().ack();
    lab.data(0, CALL).reply(0, REPLY);
    lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
    lab.failures(&[(Failure::Late, Reply::None)]);
}

#[test]
fn a_reset_waits_for_what_its_maker_says_and_then_goes() {
    let mut lab = Lab::new();
    server_rst(call(lab.establish()), 0, ResetOrigin::Backend);
    let closed_at = lab.now;
    let open: u64 = Traffic::ALL.iter().map(|t| lab.get(Cell::open(*t))).sum();
    assert_eq!((open, lab.get(Cell::UNREPORTED)), (0, 0));
    // What comes late changes nothing.
    lab.data(LEN, CALL).client_fin(2 * LEN).wait(99 * MS);
    assert_eq!(lab.failed, []);
    lab.wait(MS);
    lab.failures(&[(Failure::ClosedAtOnce, Reply::BackendRst)]);
    assert_eq!(lab.failed.first().map(|f| f.at), Some(closed_at));
    assert_eq!(lab.flow, None);
}
