//! How connections end, and what time alone decides.

use super::{Limits, Now, SYN_RETRANSMIT_NS, SYN_RETRANSMIT_SLACK_NS, Segment, near, tcp};
use crate::counters::{Cell, Tally};
use crate::failure::{Failure, Got};
use crate::first_bytes::Decision;
use crate::flow::{Flow, flag, mark, state};
use crate::words::{Close, Outcome, Traffic};

/// What becomes of a flow's entry after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    /// It stays in the table.
    Keep,
    /// Nothing more can be learnt from it.
    Remove,
}

impl Flow {
    /// RST or FIN: one side's end, or the connection's.
    #[inline(always)]
    pub(super) fn on_end<T: Tally>(
        &mut self,
        segment: &Segment,
        now: Now,
        limits: &Limits,
        tally: &mut T,
    ) -> Fate {
        let next = if segment.to_node {
            self.client_next
        } else {
            self.server_next
        };
        if !near(segment.seq, next) {
            return Fate::Keep;
        }
        let reset = segment.has(tcp::RST);
        let (bit, close) = match (segment.to_node, reset) {
            (true, false) => (flag::FIN_CLIENT, Close::ClientFin),
            (false, false) => (flag::FIN_SERVER, Close::ServerFin),
            (true, true) => (flag::FIN_CLIENT | flag::FIN_SERVER, Close::ClientRst),
            (false, true) => (flag::FIN_CLIENT | flag::FIN_SERVER, Close::ServerRst),
        };
        self.count_reset(segment, tally);
        self.flags |= bit;
        let first = self.closer == 0;
        if first {
            self.closer = close as u8 + 1;
        }
        // Its end lies beyond what was seen of its bytes: some were missed.
        let end = segment.seq.wrapping_add(segment.payload_len);
        if segment.to_node && end.wrapping_sub(next).cast_signed() > 0 {
            self.flags |= flag::HOLE;
        }
        // The client can send no more: its class is final.
        if self.has(flag::FIN_CLIENT) && !self.has(flag::FINAL) {
            let class = self.class_at_close(now, limits);
            self.settle(class, tally);
        }
        let over = self.has(flag::FIN_CLIENT) && self.has(flag::FIN_SERVER);
        self.report_end(segment, (first, over), now, limits, tally);
        if over {
            return self.finish(self.closer(), tally);
        }
        Fate::Keep
    }

    #[inline(always)]
    fn class_at_close(&mut self, now: Now, limits: &Limits) -> Traffic {
        if self.first.has_bytes() {
            match self.first.at_close() {
                Decision::Thrift(message) => {
                    self.note_oneway(message);
                    Traffic::Thrift
                }
                _ => Traffic::Other,
            }
        } else if self.has(flag::HOLE) {
            Traffic::Unknown
        } else if now.ns.saturating_sub(self.since) < limits.idle_after_ns {
            self.class_of_silence()
        } else {
            Traffic::Idle
        }
    }

    /// Nothing more is heard of the connection.
    #[inline(always)]
    pub(super) fn give_up<T: Tally>(&mut self, tally: &mut T) -> Fate {
        if !self.has(flag::FINAL) {
            let told = !self.first.has_bytes() && !self.has(flag::HOLE);
            let class = if told {
                Traffic::Idle
            } else {
                Traffic::Unknown
            };
            self.settle(class, tally);
        }
        if self.unanswered() {
            self.fail_connection(Failure::Unanswered, Got::NOTHING, tally);
        }
        self.finish(Close::TimeoutIdle, tally)
    }

    /// The connection, whose class is final, is over.
    #[inline(always)]
    fn finish<T: Tally>(&mut self, close: Close, tally: &mut T) -> Fate {
        tally.count(Cell::close(close, self.class()));
        tally.add(Cell::open(self.class()), -1);
        if self.marked(mark::OWED) {
            self.state = state::RESET;
            return Fate::Keep;
        }
        self.state = state::EMPTY;
        Fate::Remove
    }

    /// Applies what time alone decides: timeouts, the idle threshold, expiry.
    #[inline(always)]
    pub fn tick<T: Tally>(&mut self, now: Now, limits: &Limits, tally: &mut T) -> Fate {
        let age = now.ns.saturating_sub(self.since);
        match self.state {
            state::SYN_SEEN => {
                if now.ns.saturating_sub(self.syn_at) >= limits.handshake_timeout_ns {
                    self.decide(Outcome::TimedOut, tally);
                }
            }
            state::ANSWERED => {
                if age >= limits.handshake_timeout_ns {
                    self.decide(Outcome::Unacked, tally);
                    // SYNs and SYN-ACKs may have come again until now.
                    self.since = self.since.saturating_add(limits.handshake_timeout_ns);
                }
            }
            state::ESTABLISHED => return self.tick_connection(age, now, limits, tally),
            state::DECIDED => {
                if self.payable(now) {
                    self.pay(tally);
                }
            }
            state::RESET => {
                if !self.payable(now) {
                    return Fate::Keep;
                }
                self.pay_connection(tally);
                return Fate::Remove;
            }
            _ => return Fate::Remove,
        }
        if self.is_settled() {
            let given_up = self.closer != 0;
            let age = now.ns.saturating_sub(self.since);
            if age >= SYN_RETRANSMIT_NS || given_up && self.is_spent(now) {
                return Fate::Remove;
            }
        }
        Fate::Keep
    }

    /// A failed attempt of which everything is reported: only its SYN is waited for.
    #[must_use]
    #[inline(always)]
    pub const fn is_settled(&self) -> bool {
        self.state == state::DECIDED && !self.marked(mark::OWED)
    }

    /// A failed attempt whose SYN will hardly be seen again, provided that its first
    /// SYNs were seen: it may go where others need its place.
    #[must_use]
    #[inline(always)]
    pub const fn is_spent(&self, now: Now) -> bool {
        let spanned = self.since.saturating_sub(self.syn_at);
        let age = now.ns.saturating_sub(self.since);
        self.is_settled() && age >= spanned.saturating_add(SYN_RETRANSMIT_SLACK_NS)
    }

    #[inline(always)]
    fn tick_connection<T: Tally>(
        &mut self,
        age: u64,
        now: Now,
        limits: &Limits,
        tally: &mut T,
    ) -> Fate {
        if !self.has(flag::COUNTED) && age >= limits.idle_after_ns {
            if self.first.has_bytes() || self.has(flag::HOLE) {
                self.count_established(Traffic::Unknown, tally);
            } else {
                self.count_established(Traffic::Idle, tally);
                self.reclass(Traffic::Idle, tally);
            }
        }
        if self.unanswered_for_long(now, limits) {
            self.fail_connection(Failure::Unanswered, Got::NOTHING, tally);
        }
        let half_closed = self.has(flag::FIN_CLIENT | flag::FIN_SERVER);
        let limit = if half_closed {
            limits.half_closed_after_s
        } else {
            limits.expire_after_s
        };
        if now.s.saturating_sub(self.seen_s) >= limit {
            return self.give_up(tally);
        }
        Fate::Keep
    }
}
