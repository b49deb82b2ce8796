//! What is not reported as a failure.

use tracer_common::{machine::tcp, words::ResetOrigin};

use crate::{
    failures::{Way, call, run, server_rst},
    lab::{CALL, ISN, LEN, MS, REPLY, S, SERVER_ISN},
};

const ONEWAY: &[u8] = b"\x80\x01\x00\x04\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";

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
