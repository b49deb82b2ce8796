//! SYN floods, and what looks like one.

use tracer_common::{
    counters::Cell,
    failure::{Failure::Unacked, Reply::BackendRst, seen},
    words::Retransmit,
};

use super::{
    super::{
        Certainty::{Certain, Likely, Unknown},
        Verdict::{ReturnPath, SynFlood, Unexplained},
    },
    bed::{Bed, Make as _, bed, pod, row},
    check,
};

const AGAIN: Cell = Cell::retransmit(Retransmit::Syn);

fn unacked() -> Bed {
    bed([row(Unacked).to(pod()).count(1000)]).here()
}

#[test]
fn many_sources_that_do_not_insist() {
    check(&[
        (
            "forged",
            unacked().clients(1000, 1000).count(AGAIN, 99),
            &[(SynFlood, Likely, 1000, 0)],
        ),
        (
            "clients insist: their answers get lost",
            unacked().clients(1000, 1000).count(AGAIN, 100),
            &[(ReturnPath, Likely, 1000, 0)],
        ),
        (
            "a load balancer's few addresses",
            unacked().clients(1000, 9),
            &[(ReturnPath, Likely, 1000, 0)],
        ),
        (
            "few so far",
            unacked().clients(255, 255),
            &[(ReturnPath, Likely, 1000, 0)],
        ),
        (
            "the same ones again and again",
            unacked().clients(1000, 899),
            &[(ReturnPath, Likely, 1000, 0)],
        ),
        (
            "nothing remembered",
            unacked(),
            &[(ReturnPath, Likely, 1000, 0)],
        ),
        (
            "this kernel loses the answers",
            bed([row(Unacked).to(pod()).count(1000).drop(
                seen::DROPPED_SYN_ACK,
                "NETFILTER_DROP",
                "nft_do_chain",
            )])
            .here()
            .clients(1000, 1000),
            &[(ReturnPath, Certain, 1000, 0)],
        ),
        (
            "answered and reset, whoever came",
            bed([row(Unacked).reply(BackendRst, 0).to(pod()).count(1000)])
                .here()
                .clients(1000, 1000),
            &[(Unexplained, Unknown, 1000, 0)],
        ),
    ]);
}
