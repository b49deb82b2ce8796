//! From the SYN to the outcome.

use super::failing::UNACKED;
use super::{Fate, Limits, Now, Segment, WINDOW, at_or_after, near, tcp};
use crate::counters::{Cell, Tally};
use crate::failure::{Failure, Got};
use crate::first_bytes::FirstBytes;
use crate::flow::{Flow, flag, mark, state};
use crate::words::{Answer, Close, Outcome, Retransmit, Traffic};

impl Flow {
    /// A SYN from the client: a new attempt (true), or the same one again.
    #[inline(always)]
    pub(super) fn on_syn<T: Tally>(&mut self, segment: &Segment, now: Now, tally: &mut T) -> bool {
        if self.state != state::EMPTY && self.isn == segment.seq {
            if self.ifindex_in == segment.ifindex {
                tally.count(Cell::retransmit(Retransmit::Syn));
                self.marks &= !mark::SENT_ON;
                if self.state == state::SYN_SEEN {
                    self.marks |= mark::SYN_AGAIN;
                }
                if self.state == state::SYN_SEEN || self.state == state::DECIDED {
                    self.since = now.ns;
                }
            }
            return false;
        }
        if self.withstands(segment) {
            tally.count(Cell::ATTEMPTS);
            tally.count(Cell::UNTRACKED);
            return false;
        }
        if !self.yields(segment, tally) {
            self.abandon(tally);
        }
        *self = Self {
            syn_at: now.ns,
            since: now.ns,
            isn: segment.seq,
            client_next: segment.seq.wrapping_add(1),
            ifindex_in: segment.ifindex,
            seen_s: now.s,
            row: self.row,
            state: state::SYN_SEEN,
            flags: if segment.probe_source {
                flag::PROBE_SOURCE
            } else {
                0
            },
            marks: if segment.unchecked {
                mark::UNCHECKED
            } else {
                0
            },
            traffic: Traffic::Unknown as u8,
            ..Self::default()
        };
        tally.count(Cell::ATTEMPTS);
        tally.add(Cell::PENDING, 1);
        true
    }

    /// A new initial sequence number on a tuple in use: what was there is over.
    #[inline(always)]
    fn abandon<T: Tally>(&mut self, tally: &mut T) {
        match self.state {
            state::SYN_SEEN => self.decide(Outcome::Cancelled, tally),
            state::ANSWERED => self.decide(Outcome::Unacked, tally),
            state::ESTABLISHED => drop(self.give_up(tally)),
            state::DECIDED => self.pay(tally),
            state::RESET => self.pay_connection(tally),
            _ => {}
        }
    }

    /// Any other segment from the client while the handshake is open.
    #[inline(always)]
    pub(super) fn on_client<T: Tally>(&mut self, segment: &Segment, now: Now, tally: &mut T) {
        let first = self.isn.wrapping_add(1);
        // In SYN-SENT a client's own segments carry the number after its SYN.
        let follows_syn = segment.seq == first || segment.seq == self.client_next;
        let acks_server =
            segment.has(tcp::ACK) && at_or_after(segment.ack, self.server_isn.wrapping_add(1));
        match self.state {
            state::SYN_SEEN if segment.has(tcp::RST | tcp::FIN) && follows_syn => {
                self.count_reset(segment, tally);
                self.decide(Outcome::Cancelled, tally);
            }
            // Simultaneous open (RFC 9293, 3.5): SYN and ACK in one, the same ISN.
            state::SYN_SEEN
                if segment.has(tcp::SYN)
                    && segment.seq == self.isn
                    && self.server_isn != 0
                    && acks_server =>
            {
                tally.answered(Answer::SynAck, now.ns.saturating_sub(self.syn_at));
                self.establish(now, tally);
            }
            // An ACK of exactly this SYN although no SYN-ACK was seen: the tap
            // missed it (it skips a segment rather than wait for a lock).
            state::SYN_SEEN if segment.is_plain() && segment.has(tcp::ACK) && follows_syn => {
                self.server_isn = segment.ack.wrapping_sub(1);
                self.establish(now, tally);
            }
            state::ANSWERED if segment.has(tcp::RST) => {
                let acks_syn_ack = acks_server && segment.ack == self.server_isn.wrapping_add(1);
                if follows_syn || acks_syn_ack {
                    self.count_reset(segment, tally);
                    self.decide(Outcome::HalfOpen, tally);
                }
            }
            state::ANSWERED if acks_server && at_or_after(segment.seq, first) => {
                self.establish(now, tally);
            }
            // The SYN of a simultaneous open, sent again as SYN-ACK.
            state::ANSWERED if segment.has(tcp::SYN) && acks_server => {
                self.establish(now, tally);
            }
            _ => {}
        }
    }

    /// A segment from the node or its backend while the handshake is open.
    #[inline(always)]
    pub(super) fn on_server<T: Tally>(&mut self, segment: &Segment, now: Now, tally: &mut T) {
        let first = self.isn.wrapping_add(1);
        // Without Fast Open `client_next` is `first`; with it the server may
        // acknowledge the SYN alone or any part of its payload.
        let acks_syn = segment.has(tcp::ACK)
            && segment.ack.wrapping_sub(first) <= self.client_next.wrapping_sub(first);
        match self.state {
            state::SYN_SEEN if segment.has(tcp::RST) && acks_syn => {
                self.count_reset(segment, tally);
                tally.answered(Answer::Rst, now.ns.saturating_sub(self.syn_at));
                self.refuse(Outcome::Refused, segment.got(), now, tally);
            }
            state::SYN_SEEN if segment.has(tcp::RST) => {}
            state::SYN_SEEN if segment.has(tcp::SYN) => {
                if segment.has(tcp::ACK) && acks_syn {
                    self.answer(segment, now, tally);
                } else if !segment.has(tcp::ACK) {
                    self.server_isn = segment.seq;
                }
            }
            state::ANSWERED
                if segment.has(tcp::RST)
                    && (acks_syn || segment.seq == self.server_isn.wrapping_add(1)) =>
            {
                self.count_reset(segment, tally);
                self.tear_down(segment.got(), now, tally);
            }
            state::ANSWERED | state::ESTABLISHED | state::DECIDED
                if segment.has(tcp::SYN) && acks_syn =>
            {
                if segment.seq == self.server_isn {
                    tally.count(Cell::retransmit(Retransmit::SynAck));
                    if self.state == state::DECIDED {
                        self.since = now.ns;
                    }
                } else if self.state == state::ANSWERED {
                    // Another answer than before: the SYN reached another backend.
                    self.server_isn = segment.seq;
                    self.server_next = segment.seq.wrapping_add(1);
                }
            }
            state::ANSWERED if self.shows_a_connection(segment) => self.establish(now, tally),
            _ => {}
        }
    }

    /// The server acknowledges bytes of the client, or sends its own: it has had the
    /// final ACK, which came by an interface that is not tapped. (With Fast Open a
    /// server does either before that.)
    #[inline(always)]
    fn shows_a_connection(&self, segment: &Segment) -> bool {
        let first = self.isn.wrapping_add(1);
        let acknowledged = segment.ack.wrapping_sub(first);
        let own = segment.seq == self.server_isn.wrapping_add(1)
            && (segment.payload_len > 0 || segment.has(tcp::FIN));
        let plain = segment.has(tcp::ACK) && !segment.has(tcp::SYN | tcp::RST);
        plain
            && !self.has(flag::SYN_DATA)
            && acknowledged < WINDOW
            && (acknowledged > 0 || own)
            && near(segment.seq, self.server_isn)
    }

    #[inline(always)]
    fn answer<T: Tally>(&mut self, segment: &Segment, now: Now, tally: &mut T) {
        tally.answered(Answer::SynAck, now.ns.saturating_sub(self.syn_at));
        self.state = state::ANSWERED;
        self.since = now.ns;
        self.server_isn = segment.seq;
        self.server_next = segment.seq.wrapping_add(1);
        if self.marked(mark::SYN_AGAIN) {
            self.marks |= mark::LATE;
        }
        let first = self.isn.wrapping_add(1);
        if self.has(flag::SYN_DATA) && segment.ack == first {
            // Fast Open refused: the client sends the same bytes again.
            self.first = FirstBytes::default();
            self.client_next = first;
            self.traffic = Traffic::Unknown as u8;
            self.syn_message = 0;
            self.flags &= !(flag::SYN_DATA | flag::THRIFT);
            self.marks &= !mark::ONEWAY;
        }
    }

    /// ICMP or ICMPv6 destination unreachable from the node that quotes a SYN
    /// of this flow: `quoted_seq` is the sequence number in the quote, `got` the
    /// error.
    #[inline(always)]
    pub fn unreachable<T: Tally>(
        &mut self,
        quoted_seq: u32,
        got: Got,
        now: Now,
        limits: &Limits,
        tally: &mut T,
    ) -> Fate {
        let fate = self.tick(now, limits, tally);
        if self.state == state::SYN_SEEN && quoted_seq == self.isn {
            tally.answered(Answer::Icmp, now.ns.saturating_sub(self.syn_at));
            self.refuse(Outcome::Unreachable, got, now, tally);
        }
        fate
    }

    /// Ends the handshake without a connection.
    #[inline(always)]
    pub(super) fn decide<T: Tally>(&mut self, outcome: Outcome, tally: &mut T) {
        let traffic = self.decided(outcome, tally);
        if let Some(failure) = self.failure_of(outcome) {
            self.fail(failure, Got::NOTHING, traffic, tally);
        }
    }

    /// The same by an answer that says no, which is `got`.
    #[inline(always)]
    fn refuse<T: Tally>(&mut self, outcome: Outcome, got: Got, now: Now, tally: &mut T) {
        self.owe(got, now, tally);
        self.decided(outcome, tally);
    }

    /// The server's side resets what it has answered, before an ACK of the client was
    /// seen: nobody refused the SYN, and nothing came back in time.
    #[inline(always)]
    fn tear_down<T: Tally>(&mut self, got: Got, now: Now, tally: &mut T) {
        self.refuse(Outcome::Unacked, got, now, tally);
        self.code = UNACKED;
    }

    #[inline(always)]
    fn decided<T: Tally>(&mut self, outcome: Outcome, tally: &mut T) -> Traffic {
        let traffic = if outcome as u8 == Outcome::HalfOpen as u8 {
            self.class_of_silence()
        } else {
            self.class_of_attempt()
        };
        tally.count(Cell::handshake(outcome, traffic));
        tally.add(Cell::PENDING, -1);
        self.flags |= flag::COUNTED;
        self.state = state::DECIDED;
        if matches!(outcome, Outcome::HalfOpen | Outcome::Cancelled) {
            self.closer = Close::ClientRst as u8 + 1;
        }
        traffic
    }

    /// A half-open handshake is a probe's, unless the client had to ask again.
    #[inline(always)]
    const fn failure_of(&self, outcome: Outcome) -> Option<Failure> {
        match outcome {
            Outcome::TimedOut => Some(Failure::TimedOut),
            Outcome::Unacked => Some(Failure::Unacked),
            Outcome::Cancelled => Some(Failure::Cancelled),
            Outcome::HalfOpen if self.marked(mark::LATE) => Some(Failure::Abandoned),
            Outcome::HalfOpen | Outcome::Established | Outcome::Refused | Outcome::Unreachable => {
                None
            }
        }
    }

    #[inline(always)]
    pub(super) fn count_reset<T: Tally>(&self, segment: &Segment, tally: &mut T) {
        if segment.has(tcp::RST) {
            tally.count(Cell::reset(segment.origin));
        }
    }
}
