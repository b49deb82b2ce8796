//! A flow at several interfaces: copies, moves, and who else sends in its name.

use tracer_common::{
    counters::Cell,
    flow::state,
    machine::tcp,
    words::{Outcome, Retransmit, Traffic},
};

use crate::lab::{CALL, ISN, LEN, Lab, REPLY, S, SERVER_ISN, segment};

const FIRST: u32 = ISN.wrapping_add(1);
/// The interface of the flow's SYN, and another.
const EDGE: u32 = 2;
const OTHER: u32 = 3;

impl Lab {
    fn by(
        &mut self,
        ifindex: u32,
        to_node: bool,
        flags: u8,
        (seq, ack): (u32, u32),
        payload: &[u8],
    ) -> &mut Self {
        let mut s = segment(to_node, flags, seq, ack, payload);
        s.ifindex = ifindex;
        self.segment(s, payload)
    }

    fn syn_by(&mut self, ifindex: u32, isn: u32, routed: bool) -> &mut Self {
        let mut s = segment(true, tcp::SYN, isn, 0, &[]);
        (s.ifindex, s.routed) = (ifindex, routed);
        self.segment(s, &[])
    }

    fn state(&self) -> u8 {
        self.flow.map_or(state::EMPTY, |flow| flow.state)
    }

    fn untracked(&self) -> u64 {
        self.get(Cell::UNTRACKED)
    }
}

#[test]
fn segments_by_another_interface_than_the_syn_count() {
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    lab.by(OTHER, true, tcp::ACK, (FIRST, SERVER_ISN + 1), &[]);
    assert!(lab.established());
    lab.by(OTHER, true, tcp::ACK, (FIRST, SERVER_ISN + 1), CALL);
    lab.by(
        EDGE,
        false,
        tcp::ACK,
        (SERVER_ISN + 1, FIRST.wrapping_add(LEN)),
        REPLY,
    );
    let (next, ack) = (FIRST.wrapping_add(LEN), SERVER_ISN + 1 + LEN);
    lab.by(OTHER, true, tcp::FIN | tcp::ACK, (next, ack), &[]);
    lab.by(EDGE, false, tcp::FIN | tcp::ACK, (ack, next), &[]);
    lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
    lab.failures(&[]);
    assert_eq!(lab.state(), state::EMPTY);
}

#[test]
fn answers_by_another_interface_than_the_first_count() {
    let mut lab = Lab::new();
    lab.establish().data(0, CALL);
    let next = FIRST.wrapping_add(LEN);
    lab.by(OTHER, false, tcp::ACK, (SERVER_ISN + 1, next), REPLY);
    lab.wait(10 * S).failures(&[]);
}

#[test]
fn a_copy_is_no_retransmission() {
    let mut lab = Lab::new();
    lab.establish();
    for ifindex in [EDGE, OTHER] {
        lab.by(ifindex, true, tcp::ACK, (FIRST, SERVER_ISN + 1), CALL);
    }
    // Sent again: once, though both see it.
    for ifindex in [EDGE, OTHER] {
        lab.by(ifindex, true, tcp::ACK, (FIRST, SERVER_ISN + 1), CALL);
    }
    assert_eq!(lab.retransmits(Retransmit::Data), 1);
}

#[test]
fn guessed_numbers_by_another_interface_do_nothing() {
    let far = 1 << 20;
    for (seq, ack) in [
        (FIRST.wrapping_add(far), SERVER_ISN + 1),
        (FIRST, SERVER_ISN + far),
    ] {
        let mut lab = Lab::new();
        lab.establish();
        for flags in [tcp::ACK, tcp::RST | tcp::ACK, tcp::FIN | tcp::ACK] {
            lab.by(OTHER, true, flags, (seq, ack), CALL);
        }
        lab.by(OTHER, true, tcp::RST, (FIRST.wrapping_add(1), 0), &[]);
        assert!(lab.established());
        lab.data(0, CALL);
        lab.reply(0, REPLY);
        lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
    }
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    lab.by(OTHER, true, tcp::ACK, (FIRST, SERVER_ISN + far), &[]);
    lab.by(OTHER, true, tcp::RST, (FIRST.wrapping_add(1), 0), &[]);
    assert_eq!(lab.state(), state::ANSWERED);
}

#[test]
fn a_syn_by_another_interface_does_not_displace() {
    let steps: [fn(&mut Lab); 4] = [
        |_| {},
        |lab| {
            let _ = lab.syn_ack();
        },
        |lab| {
            let _ = lab.syn_ack().ack();
        },
        |lab| {
            let _ = lab.server(tcp::RST | tcp::ACK, 0, FIRST, &[]);
        },
    ];
    for step in steps {
        let mut lab = Lab::new();
        step(lab.syn());
        let before = (lab.state(), lab.failed.len());
        lab.syn_by(OTHER, 77, false);
        assert_eq!((lab.state(), lab.failed.len()), before);
        assert_eq!(lab.flow.map(|flow| flow.isn), Some(ISN));
        assert_eq!((lab.attempts(), lab.untracked()), (2, 1));
        assert!(lab.port.balances());
    }
}

/// A client that uses its port again comes by the same interface.
#[test]
fn a_syn_by_the_same_interface_displaces() {
    let mut lab = Lab::new();
    lab.syn().syn_by(EDGE, 77, false);
    assert_eq!(lab.flow.map(|flow| flow.isn), Some(77));
    lab.outcomes(&[(Outcome::Cancelled, Traffic::Unknown, 1)]);
}

/// What came first in the client's name makes way for the client.
#[test]
fn a_syn_by_the_interface_that_leads_to_the_client_displaces() {
    for answered in [false, true] {
        let mut lab = Lab::new();
        lab.syn_by(OTHER, 77, false);
        if answered {
            lab.server(tcp::SYN | tcp::ACK, 9, 78, &[]);
        }
        lab.syn_by(EDGE, ISN, true);
        assert_eq!((lab.attempts(), lab.untracked(), lab.pending()), (2, 1, 1));
        lab.outcomes(&[]).failures(&[]);
        lab.syn_ack().ack().data(0, CALL).reply(0, REPLY);
        lab.outcomes(&[(Outcome::Established, Traffic::Thrift, 1)]);
    }
}

// Each of these changes nothing the first time, and must not look new the second:
// the two interfaces would take the flow from each other, and its next SYN would
// count twice.
#[test]
fn copies_of_what_changes_nothing_take_no_interface() {
    let acks_nothing = SERVER_ISN.wrapping_sub(1);
    let (answer, at_hole) = (SERVER_ISN + 1, FIRST.wrapping_add(1000));
    type Sent = (u8, u32, u32, &'static [u8]);
    let cases: [(&str, bool, &[Sent]); 4] = [
        ("no flag", false, &[(0, FIRST, 0, &[])]),
        ("old ACK", true, &[(tcp::ACK, FIRST, acks_nothing, &[])]),
        (
            "hole",
            true,
            &[
                (tcp::ACK, FIRST, answer, &[]),
                (tcp::ACK, at_hole, answer, b"x"),
            ],
        ),
        (
            "FIN beyond a hole",
            true,
            &[
                (tcp::ACK, FIRST, answer, &[]),
                (tcp::ACK | tcp::FIN, at_hole, answer, b"x"),
            ],
        ),
    ];
    for (what, answered, sent) in cases {
        let mut lab = Lab::new();
        lab.syn();
        if answered {
            lab.syn_ack();
        }
        for (flags, seq, ack, payload) in sent {
            for ifindex in [EDGE, OTHER] {
                lab.by(ifindex, true, *flags, (*seq, *ack), payload);
            }
        }
        lab.syn_by(EDGE, ISN.wrapping_add(7), false);
        lab.syn_by(OTHER, ISN.wrapping_add(7), false);
        assert_eq!((lab.attempts(), lab.untracked()), (2, 0), "{what}");
    }
}

// All but its SYNs comes by an interface that is not tapped: the server's word is all
// that tells of it.
#[test]
fn what_the_server_acknowledges_was_sent() {
    let mut lab = Lab::new();
    let next = FIRST.wrapping_add(LEN);
    lab.syn().syn_ack();
    // A challenge (RFC 5961) before the final ACK says nothing of that.
    lab.server(tcp::ACK, SERVER_ISN + 1, FIRST, &[]);
    assert!(!lab.established());
    lab.server(tcp::ACK, SERVER_ISN + 1, next, &[]);
    assert!(lab.established());
    lab.server(tcp::ACK, SERVER_ISN + 1, next, REPLY);
    lab.wait(10 * S).failures(&[]);
    // What it sent is not known; that it was silent is not true.
    lab.outcomes(&[(Outcome::Established, Traffic::Unknown, 1)]);
}

#[test]
fn a_server_that_speaks_first_has_had_the_final_ack() {
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    lab.server(tcp::ACK, SERVER_ISN + 1, FIRST, REPLY);
    assert!(lab.established());
    let mut lab = Lab::new();
    lab.syn().syn_ack();
    lab.server(tcp::FIN | tcp::ACK, SERVER_ISN + 1, FIRST, &[]);
    assert!(lab.established());
}

#[test]
fn a_client_whose_bytes_are_not_seen_is_no_idle_one() {
    let mut lab = Lab::new();
    lab.establish();
    let next = FIRST.wrapping_add(LEN);
    lab.server(tcp::ACK, SERVER_ISN + 1, next, &[]);
    lab.wait(10 * S);
    lab.outcomes(&[(Outcome::Established, Traffic::Unknown, 1)]);
}

#[test]
fn an_attempt_is_of_the_interface_of_its_syn() {
    let established = |edge, by| {
        let mut lab = Lab::new();
        lab.syn_by(edge, ISN, false).syn_ack();
        lab.by(by, true, tcp::ACK, (FIRST, SERVER_ISN + 1), &[]);
        assert!(lab.established());
        lab.established[0].interface
    };
    assert_eq!(established(EDGE, EDGE), EDGE as u16);
    assert_eq!(established(0xffff, 0xffff), 0xffff);
    // It does not fit; or the client's side came by two.
    assert_eq!(established(0x1_0002, 0x1_0002), 0);
    assert_eq!(established(EDGE, OTHER), 0);
    let mut lab = Lab::new();
    // A copy of the SYN says nothing, and answers have their own interface.
    lab.syn_by(OTHER, ISN, false).syn_by(EDGE, ISN, false);
    lab.wait(6 * S);
    assert_eq!(lab.failed[0].interface, OTHER as u16);
    // A new attempt on the same ports is of its own.
    lab.syn_by(EDGE, ISN.wrapping_add(7), true).wait(6 * S);
    assert_eq!(lab.failed[1].interface, EDGE as u16);
}
