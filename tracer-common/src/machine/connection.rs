//! An established connection: its first bytes, its class, its payload.

use super::{Fate, Limits, Now, Segment, WINDOW, near, tcp};
use crate::counters::{Cell, Tally};
use crate::failure::{Failure, Got, Way};
use crate::first_bytes::{Chunk, Decision, FirstBytes, Message, MessageType, Payload, message_in};
use crate::flow::{Flow, flag, mark, state};
use crate::words::{Outcome, Retransmit, Traffic};

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
    fn read(&self, offset: u32) -> Chunk {
        self.payload.read(offset.saturating_add(self.known))
    }
    #[inline(always)]
    fn is_cut(&self) -> bool {
        self.payload.is_cut()
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
        tally.established(Way {
            interface: self.interface(),
            backend: self.backend,
        });
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
        if self.marked(mark::LATE) {
            self.fail(Failure::Late, Got::NOTHING, self.class(), tally);
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
                self.asks(now);
            } else {
                self.on_data(segment, payload, tally);
            }
        }
        self.hears(segment);
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
    /// the time last seen and counts that need no lock. `quiet_s` is
    /// [`Limits::quiet_s`], asked for once in a second: after such a silence time
    /// comes first.
    #[inline(always)]
    pub fn quick<P: Payload + ?Sized, T: Tally>(
        &mut self,
        segment: &Segment,
        payload: &P,
        now_s: u32,
        quiet_s: impl FnOnce() -> u32,
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
            return owner != 0 && !self.is_beyond(segment);
        }
        if self.seen_s != now_s {
            if now_s.saturating_sub(self.seen_s) >= quiet_s() {
                return false;
            }
            self.seen_s = now_s;
        }
        if segment.payload_len > 0 {
            self.on_data(segment, payload, tally);
        }
        self.hears(segment);
        true
    }

    /// The server acknowledges bytes of the client that were not seen: they came by an
    /// interface that is not tapped, or the tap missed them. The client is not silent.
    #[inline(always)]
    fn hears(&mut self, segment: &Segment) {
        let ahead = segment.ack.wrapping_sub(self.client_next);
        let missed = segment.has(tcp::ACK) && ahead.wrapping_sub(1) < WINDOW;
        // Who sends a RST acknowledges whatever it answers.
        if !segment.to_node && missed && !segment.has(tcp::RST) && !self.has(flag::FINAL) {
            self.flags |= flag::HOLE;
        }
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
        if !self.plausible(segment, next, ahead.unsigned_abs()) {
            return;
        }
        if segment.to_node {
            self.client_next = end;
        } else {
            self.server_next = end;
        }
        if self.has(flag::THRIFT) {
            let known = segment.payload_len.saturating_sub(ahead.unsigned_abs());
            if let Some(message) = message_in(payload, known, self.first.old_binary()) {
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
            if self.plausible(segment, self.client_next, ahead.unsigned_abs()) {
                self.flags |= flag::HOLE;
            }
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
            Decision::Missing => self.on_missing(tally),
        }
    }

    /// What the client sent first is not in the capture.
    #[inline(always)]
    fn on_missing<T: Tally>(&mut self, tally: &mut T) {
        if self.state == state::ESTABLISHED {
            self.settle(Traffic::Unknown, tally);
        } else {
            self.flags |= flag::HOLE;
            self.first = FirstBytes::default();
        }
    }

    #[inline(always)]
    fn on_class<T: Tally>(&mut self, class: Traffic, message: Option<Message>, tally: &mut T) {
        if let Some(message) = message {
            self.flags |= flag::THRIFT;
            self.note_oneway(message);
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

    #[inline(always)]
    pub(super) fn note_oneway(&mut self, message: Message) {
        if message.kind as u8 == MessageType::Oneway as u8 {
            self.marks |= mark::ONEWAY;
        }
    }

    /// The class is final: count handshake and connection under it.
    #[inline(always)]
    pub(super) fn settle<T: Tally>(&mut self, class: Traffic, tally: &mut T) {
        self.count_established(class, tally);
        tally.count(Cell::connection(class));
        self.reclass(class, tally);
        self.flags |= flag::FINAL;
    }

    #[inline(always)]
    pub(super) fn count_established<T: Tally>(&mut self, class: Traffic, tally: &mut T) {
        if !self.has(flag::COUNTED) {
            tally.count(Cell::handshake(Outcome::Established, class));
            tally.add(Cell::PENDING, -1);
            self.flags |= flag::COUNTED;
        }
    }

    #[inline(always)]
    pub(super) fn reclass<T: Tally>(&mut self, class: Traffic, tally: &mut T) {
        tally.add(Cell::open(self.class()), -1);
        tally.add(Cell::open(class), 1);
        self.traffic = class as u8;
    }
}
