//! What is reported as a failure, and what is not.

use tracer_common::{
    counters::Cell,
    failure::{Failed, Failure, Reply},
    machine::tcp,
    words::{Outcome, ResetOrigin, Traffic},
};

use crate::lab::{ISN, Lab, MS, S, SERVER_ISN, segment};

const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
const ONEWAY: &[u8] = b"\x80\x01\x00\x04\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
const REPLY: &[u8] = b"\x80\x01\x00\x02\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
const LEN: u32 = CALL.len() as u32;

type Way = fn(&mut Lab);

fn run(way: Way) -> Lab {
    let mut lab = Lab::new();
    way(&mut lab);
    if lab.get(Cell::UNREPORTED) != 0 {
        lab.wait(100 * MS);
    }
    assert!(lab.port.balances());
    lab
}

fn server_rst(lab: &mut Lab, offset: u32, origin: ResetOrigin) {
    let ack = ISN.wrapping_add(1);
    let seq = SERVER_ISN + 1 + offset;
    let mut rst = segment(false, tcp::RST | tcp::ACK, seq, ack, &[]);
    rst.origin = origin;
    lab.segment(rst, &[]);
}

/// Call, and the server's acknowledgment of it without payload.
fn call(lab: &mut Lab) -> &mut Lab {
    lab.data(0, CALL).reply(0, &[])
}

#[test]
fn healthy_ways_report_nothing() {
    let ways: [(&str, Way); 17] = [
        ("probe, FIN", |lab| {
            lab.establish().client_fin(0).server_fin(0).client(
                tcp::ACK,
                ISN.wrapping_add(2),
                SERVER_ISN + 2,
                &[],
            );
        }),
        ("probe, RST", |lab| {
            lab.establish()
                .client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
        }),
        ("probe, half open", |lab| {
            lab.syn()
                .syn_ack()
                .client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
        }),
        ("half open, SYN again after its answer", |lab| {
            lab.syn().syn_ack().wait(S).syn().syn_ack();
            lab.client(tcp::RST, ISN.wrapping_add(1), 0, &[]);
        }),
        ("idle for 60 s", |lab| {
            lab.establish();
            for _ in 0..60 {
                lab.wait(S);
            }
            lab.client_fin(0).server_fin(0);
        }),
        ("idle, given up", |lab| {
            lab.establish().wait(3601 * S);
        }),
        ("idle, closed by the server", |lab| {
            lab.establish().wait(5 * S).server_fin(0).client_fin(0);
        }),
        ("idle, reset by the server", |lab| {
            lab.establish().wait(5 * S);
            server_rst(lab, 0, ResetOrigin::Backend);
        }),
        ("slow first byte", |lab| {
            lab.establish().wait(60 * S).data(0, CALL).wait(S);
            lab.reply(0, REPLY).wait(60 * S);
            lab.client_fin(LEN).server_fin(LEN);
        }),
        ("slow reply", |lab| {
            call(lab.establish()).wait(4_990 * MS).reply(0, REPLY);
            lab.wait(60 * S).client_fin(LEN).server_fin(LEN);
        }),
        ("reply after the client's FIN", |lab| {
            call(lab.establish()).client_fin(LEN).wait(S);
            lab.reply(0, REPLY).server_fin(LEN);
        }),
        ("oneway", |lab| {
            lab.establish().data(0, ONEWAY).reply(0, &[]).wait(60 * S);
            lab.client_fin(LEN).server_fin(0);
        }),
        ("oneway, given up", |lab| {
            lab.establish().data(0, ONEWAY).reply(0, &[]);
            lab.wait(3601 * S);
        }),
        ("long upload", |lab| {
            lab.establish();
            for second in 0..20 {
                lab.data(second * LEN, CALL).reply(0, &[]).wait(S);
            }
            lab.reply(0, REPLY).client_fin(20 * LEN).server_fin(LEN);
        }),
        ("server speaks first", |lab| {
            lab.establish()
                .reply(0, b"220 ready")
                .data(0, b"QUIT\r\n")
                .client_fin(6)
                .server_fin(9);
        }),
        ("closed by the server after its reply", |lab| {
            call(lab.establish()).reply(0, REPLY);
            lab.server_fin(LEN).client_fin(LEN);
        }),
        ("its reply and FIN in one segment", |lab| {
            call(lab.establish());
            let (flags, ack) = (tcp::FIN | tcp::ACK, ISN.wrapping_add(1 + LEN));
            lab.server(flags, SERVER_ISN + 1, ack, REPLY)
                .client_fin(LEN);
        }),
    ];
    for (name, way) in ways {
        assert_eq!(run(way).failed, [], "{name}");
    }
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
            Failure::Refused,
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
    let olds: [(Old, Failure); 4] = [
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
fn a_late_connection_still_counts_as_established() {
    let mut lab = Lab::new();
    lab.syn().wait(S).syn().wait(2 * S).syn_ack().ack();
    lab.data(0, CALL).reply(0, REPLY);
    lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
    lab.failures(&[(Failure::Late, Reply::None)]);
}

#[test]
fn a_refusal_that_comes_late_is_reported_before_it_is_forgotten() {
    let mut lab = Lab::new();
    // By then nobody expects the SYN again, so that the flow could go.
    lab.syn().wait(4_950 * MS).unreachable(ISN).wait(10 * MS);
    assert!(lab.flow.is_some());
    lab.wait(100 * MS);
    lab.failures(&[(Failure::Unreachable, Reply::Icmp)]);
    assert_eq!((lab.flow, lab.get(Cell::UNREPORTED)), (None, 0));
}
