//! From the completed handshake to the close, and what time alone decides.

use super::{Limits, Now, SYN_RETRANSMIT_SLACK_NS, Segment, near, tcp};
use crate::counters::{Cell, Tally};
use crate::first_bytes::{CHUNK, Decision, Message, Payload, message_at_start};
use crate::flow::{Flow, flag, state};
use crate::words::{Close, Outcome, Retransmit, Traffic};

/// What becomes of a flow's entry after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    /// It stays in the table.
    Keep,
    /// Nothing more can be learnt from it.
    Remove,
}

/// The part of a segment's payload that was not sent before.
struct Beyond<'a, P: ?Sized> {
    payload: &'a P,
    known: u32,
}

impl<P: Payload + ?Sized> Payload for Beyond<'_, P> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.payload.len().saturating_sub(self.known)
    }
    #[inline(always)]
    fn read(&self, offset: u32, out: &mut [u8; CHUNK]) -> u32 {
        self.payload.read(offset.saturating_add(self.known), out)
    }
}

impl Flow {
    #[inline(always)]
    pub(super) fn establish<T: Tally>(&mut self, now: Now, tally: &mut T) {
        self.state = state::ESTABLISHED;
        self.since = now.ns;
        if self.server_next == 0 {
            self.server_next = self.server_isn.wrapping_add(1);
        }
        tally.add(Cell::open(Traffic::Unknown), 1);
        let class = self.class();
        self.traffic = Traffic::Unknown as u8;
        if self.has(flag::PROBE_SOURCE) {
            self.settle(Traffic::HealthCheck, tally);
        } else if class as u8 != Traffic::Unknown as u8 {
            self.settle(class, tally);
        }
        if self.syn_message != 0 {
            tally.count(Cell::message_number(self.syn_message - 1));
        }
    }

    /// Payload and close: what is left of a segment of an established
    /// connection, or of a SYN that opened an attempt.
    #[inline(always)]
    pub(super) fn on_stream<P: Payload + ?Sized, T: Tally>(
        &mut self,
        segment: &Segment,
        payload: &P,
        now: Now,
        limits: &Limits,
        tally: &mut T,
    ) -> Fate {
        if segment.payload_len > 0 {
            if segment.to_node && !self.has(flag::FINAL) {
                self.on_first_bytes(segment, payload, limits, tally);
            } else {
                self.on_data(segment, payload, tally);
            }
        }
        tally.ways_meet();
        if self.state != state::ESTABLISHED {
            return Fate::Keep;
        }
        if segment.has(tcp::RST | tcp::FIN) {
            return self.on_end(segment, now, limits, tally);
        }
        Fate::Keep
    }

    /// The path of almost every packet: true when `segment` changes nothing but
    /// the time last seen and counts that need no lock.
    #[inline(always)]
    pub fn quick<P: Payload + ?Sized, T: Tally>(
        &mut self,
        segment: &Segment,
        payload: &P,
        now_s: u32,
        tally: &mut T,
    ) -> bool {
        let settled = self.state == state::ESTABLISHED && self.has(flag::FINAL);
        let plain_ack =
            self.state == state::ESTABLISHED && (segment.payload_len == 0 || !segment.to_node);
        if !(settled || plain_ack) || !segment.is_plain() {
            return false;
        }
        let owner = if segment.to_node {
            self.ifindex_in
        } else {
            self.ifindex_out
        };
        if owner != segment.ifindex {
            return owner != 0;
        }
        if self.seen_s != now_s {
            self.seen_s = now_s;
        }
        if segment.payload_len > 0 {
            self.on_data(segment, payload, tally);
        }
        true
    }

    /// Payload whose class no longer matters: retransmissions and messages.
    #[inline(always)]
    fn on_data<P: Payload + ?Sized, T: Tally>(
        &mut self,
        segment: &Segment,
        payload: &P,
        tally: &mut T,
    ) {
        let end = segment.seq.wrapping_add(segment.payload_len);
        let next = if segment.to_node {
            self.client_next
        } else {
            self.server_next
        };
        let ahead = end.wrapping_sub(next).cast_signed();
        if ahead <= 0 {
            // One byte just below what is next is a keep-alive (RFC 9293, 3.8.4).
            let keep_alive = segment.payload_len == 1;
            if !keep_alive && near(end, next) {
                tally.count(Cell::retransmit(Retransmit::Data));
            }
            return;
        }
        if segment.to_node {
            self.client_next = end;
        } else {
            self.server_next = end;
        }
        if self.has(flag::THRIFT) {
            let mut bytes = [0; CHUNK];
            let known = segment.payload_len.saturating_sub(ahead.unsigned_abs());
            let len = payload.read(known, &mut bytes);
            if let Some(message) = message_at_start(&bytes, len, self.first.old_binary()) {
                let message = if segment.to_node {
                    message
                } else {
                    message.from_server()
                };
                tally.count(Cell::message(message.kind, message.protocol));
            }
        }
    }

    /// Payload of a client whose class is not final yet.
    #[inline(always)]
    pub(super) fn on_first_bytes<P: Payload + ?Sized, T: Tally>(
        &mut self,
        segment: &Segment,
        payload: &P,
        limits: &Limits,
        tally: &mut T,
    ) {
        let syn = segment.is_syn();
        let seq = segment.seq.wrapping_add(u32::from(syn));
        let ahead = seq.wrapping_sub(self.client_next).cast_signed();
        if ahead > 0 {
            self.flags |= flag::HOLE;
            return;
        }
        let known = ahead.unsigned_abs();
        if known >= segment.payload_len {
            if near(seq, self.client_next) && segment.payload_len > 1 {
                tally.count(Cell::retransmit(Retransmit::Data));
            }
            return;
        }
        self.client_next = seq.wrapping_add(segment.payload_len);
        if syn {
            self.flags |= flag::SYN_DATA;
        }
        match self
            .first
            .segment(&Beyond { payload, known }, &limits.probes)
        {
            Decision::Undecided => {}
            Decision::Thrift(message) => self.on_class(Traffic::Thrift, Some(message), tally),
            Decision::Probe(message) => self.on_class(Traffic::HealthCheck, Some(message), tally),
            Decision::HealthCheck => self.on_class(Traffic::HealthCheck, None, tally),
            Decision::Other => self.on_class(Traffic::Other, None, tally),
        }
    }

    #[inline(always)]
    fn on_class<T: Tally>(&mut self, class: Traffic, message: Option<Message>, tally: &mut T) {
        if message.is_some() {
            self.flags |= flag::THRIFT;
        }
        if self.state == state::ESTABLISHED {
            if let Some(message) = message {
                tally.count(Cell::message(message.kind, message.protocol));
            }
            self.settle(class, tally);
        } else {
            // In a SYN: counts only once the server has acknowledged it.
            self.traffic = class as u8;
            if let Some(message) = message {
                self.syn_message = Cell::number_of_message(message.kind, message.protocol) + 1;
            }
        }
    }

    /// The class is final: count handshake and connection under it.
    #[inline(always)]
    fn settle<T: Tally>(&mut self, class: Traffic, tally: &mut T) {
        self.count_established(class, tally);
        tally.count(Cell::connection(class));
        self.reclass(class, tally);
        self.flags |= flag::FINAL;
    }

    #[inline(always)]
    fn count_established<T: Tally>(&mut self, class: Traffic, tally: &mut T) {
        if !self.has(flag::COUNTED) {
            tally.count(Cell::handshake(Outcome::Established, class));
            tally.add(Cell::PENDING, -1);
            self.flags |= flag::COUNTED;
        }
    }

    #[inline(always)]
    fn reclass<T: Tally>(&mut self, class: Traffic, tally: &mut T) {
        tally.add(Cell::open(self.class()), -1);
        tally.add(Cell::open(class), 1);
        self.traffic = class as u8;
    }

    /// RST or FIN: one side's end, or the connection's.
    #[inline(always)]
    fn on_end<T: Tally>(
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
        if self.closer == 0 {
            self.closer = close as u8 + 1;
        }
        // The client can send no more: its class is final.
        if self.has(flag::FIN_CLIENT) && !self.has(flag::FINAL) {
            let class = self.class_at_close(now, limits);
            self.settle(class, tally);
        }
        if self.has(flag::FIN_CLIENT) && self.has(flag::FIN_SERVER) {
            self.finish(self.closer(), tally);
            return Fate::Remove;
        }
        Fate::Keep
    }

    #[inline(always)]
    fn class_at_close(&self, now: Now, limits: &Limits) -> Traffic {
        if self.first.has_bytes() {
            match self.first.at_close() {
                Decision::Thrift(_) => Traffic::Thrift,
                _ => Traffic::Other,
            }
        } else if self.has(flag::HOLE) {
            Traffic::Unknown
        } else if now.ns.saturating_sub(self.since) < limits.idle_after_ns {
            Traffic::HealthCheck
        } else {
            Traffic::Idle
        }
    }

    /// Nothing more is heard of the connection.
    #[inline(always)]
    pub(super) fn give_up<T: Tally>(&mut self, tally: &mut T) {
        if !self.has(flag::FINAL) {
            let told = !self.first.has_bytes() && !self.has(flag::HOLE);
            let class = if told {
                Traffic::Idle
            } else {
                Traffic::Unknown
            };
            self.settle(class, tally);
        }
        self.finish(Close::TimeoutIdle, tally);
    }

    /// The connection, whose class is final, is over.
    #[inline(always)]
    fn finish<T: Tally>(&mut self, close: Close, tally: &mut T) {
        tally.count(Cell::close(close, self.class()));
        tally.add(Cell::open(self.class()), -1);
        self.state = state::EMPTY;
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
            state::DECIDED => {}
            _ => return Fate::Remove,
        }
        let age = now.ns.saturating_sub(self.since);
        let spanned = self.since.saturating_sub(self.syn_at);
        if self.state == state::DECIDED && age >= spanned + SYN_RETRANSMIT_SLACK_NS {
            return Fate::Remove;
        }
        Fate::Keep
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
        let half_closed = self.has(flag::FIN_CLIENT | flag::FIN_SERVER);
        let limit = if half_closed {
            limits.half_closed_after_s
        } else {
            limits.expire_after_s
        };
        if now.s.saturating_sub(self.seen_s) >= limit {
            self.give_up(tally);
            return Fate::Remove;
        }
        Fate::Keep
    }
}
