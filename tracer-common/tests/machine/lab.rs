//! One flow, its port's counters and a clock that the test moves.

use tracer_common::{
    counters::{Cell, PortCounters, Tally},
    failure::{Failed, Failure, Got, Reply, Way},
    first_bytes::ProbeMethods,
    flow::{Flow, state},
    machine::{Fate, Limits, Now, Segment, tcp},
    words::{Close, Outcome, ResetOrigin, Retransmit, Traffic},
};

pub const ISN: u32 = 0xffff_fff0;
pub const SERVER_ISN: u32 = 7_000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000 * MS;

pub const CALL: &[u8] = b"\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
pub const REPLY: &[u8] = b"\x80\x01\x00\x02\x00\x00\x00\x04ping\x00\x00\x00\x00\x00";
/// Length of both.
pub const LEN: u32 = CALL.len() as u32;

pub const LIMITS: Limits = Limits {
    handshake_timeout_ns: 5 * S,
    idle_after_ns: 5 * S,
    expire_after_s: 3600,
    half_closed_after_s: 120,
    probes: ProbeMethods::new(),
};

/// Where one step's effects go.
struct Effects<'a> {
    port: &'a mut PortCounters,
    failed: Option<Failed>,
    established: Option<Way>,
}

impl Tally for Effects<'_> {
    fn add(&mut self, cell: Cell, delta: i64) {
        self.port.add(cell, delta);
    }

    fn failed(&mut self, failed: Failed) {
        let before = self.failed.replace(failed);
        assert_eq!(before, None, "a step reports once");
    }

    fn established(&mut self, way: Way) {
        let before = self.established.replace(way);
        assert_eq!(before, None, "a step establishes once");
    }
}

/// A flow under test; `None` while it is not in the table.
pub struct Lab {
    pub flow: Option<Flow>,
    pub port: PortCounters,
    pub failed: Vec<Failed>,
    /// The ways of the connections that were established.
    pub established: Vec<Way>,
    pub limits: Limits,
    pub now: u64,
}

impl Lab {
    pub fn new() -> Self {
        Self {
            flow: None,
            port: PortCounters::ZERO,
            failed: Vec::new(),
            established: Vec::new(),
            limits: LIMITS,
            now: 1_000 * S,
        }
    }

    fn time(&self) -> Now {
        Now {
            ns: self.now,
            s: (self.now / S) as u32,
        }
    }

    fn effects<R>(&mut self, step: impl FnOnce(&mut Effects<'_>) -> R) -> R {
        let port = &mut self.port;
        let mut effects = Effects {
            port,
            failed: None,
            established: None,
        };
        let result = step(&mut effects);
        self.failed.extend(effects.failed);
        self.established.extend(effects.established);
        result
    }

    /// Lets time pass and sweeps.
    pub fn wait(&mut self, ns: u64) -> &mut Self {
        self.now += ns;
        let now = self.time();
        if let Some(mut flow) = self.flow {
            let limits = self.limits;
            let fate = self.effects(|to| flow.tick(now, &limits, to));
            self.flow = (fate == Fate::Keep).then_some(flow);
        }
        self
    }

    /// Lets time pass without a sweep: the daemon is stopped.
    pub fn pass(&mut self, ns: u64) -> &mut Self {
        self.now += ns;
        self
    }

    /// One segment, as the kernel program treats it.
    pub fn segment(&mut self, segment: Segment, payload: &[u8]) -> &mut Self {
        let now = self.time();
        let opens = segment.to_node && segment.is_syn();
        let mut flow = match self.flow {
            Some(flow) => flow,
            None if opens => Flow::default(),
            None => return self,
        };
        let limits = self.limits;
        let quiet_s = || limits.quiet_s();
        if !opens && flow.quick(&segment, payload, now.s, quiet_s, &mut self.port) {
            self.flow = Some(flow);
            return self;
        }
        let fate = self.effects(|to| flow.step(&segment, payload, now, &limits, to));
        self.flow = (fate == Fate::Keep).then_some(flow);
        self
    }

    pub fn client(&mut self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> &mut Self {
        self.segment(segment(true, flags, seq, ack, payload), payload)
    }

    pub fn server(&mut self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> &mut Self {
        self.segment(segment(false, flags, seq, ack, payload), payload)
    }

    pub fn syn(&mut self) -> &mut Self {
        self.client(tcp::SYN, ISN, 0, &[])
    }

    pub fn syn_ack(&mut self) -> &mut Self {
        self.server(tcp::SYN | tcp::ACK, SERVER_ISN, ISN.wrapping_add(1), &[])
    }

    /// A RST in answer to the SYN.
    pub fn rst_to_syn(&mut self) -> &mut Self {
        self.server(tcp::RST | tcp::ACK, 0, ISN.wrapping_add(1), &[])
    }

    pub fn ack(&mut self) -> &mut Self {
        self.client(tcp::ACK, ISN.wrapping_add(1), SERVER_ISN + 1, &[])
    }

    pub fn establish(&mut self) -> &mut Self {
        self.syn().syn_ack().ack()
    }

    /// Client payload at `offset` bytes into its stream.
    pub fn data(&mut self, offset: u32, payload: &[u8]) -> &mut Self {
        self.client(
            tcp::ACK,
            ISN.wrapping_add(1 + offset),
            SERVER_ISN + 1,
            payload,
        )
    }

    /// Server payload at `offset` bytes into its stream.
    pub fn reply(&mut self, offset: u32, payload: &[u8]) -> &mut Self {
        let ack = ISN.wrapping_add(1);
        self.server(tcp::ACK, SERVER_ISN + 1 + offset, ack, payload)
    }

    pub fn client_fin(&mut self, offset: u32) -> &mut Self {
        self.client(
            tcp::FIN | tcp::ACK,
            ISN.wrapping_add(1 + offset),
            SERVER_ISN + 1,
            &[],
        )
    }

    pub fn server_fin(&mut self, offset: u32) -> &mut Self {
        let ack = ISN.wrapping_add(1);
        self.server(tcp::FIN | tcp::ACK, SERVER_ISN + 1 + offset, ack, &[])
    }

    /// Port unreachable (RFC 792: type 3, code 3).
    pub fn unreachable(&mut self, quoted_seq: u32) -> &mut Self {
        let (reply, code) = (Reply::Icmp, 3);
        let got = Got { reply, code };
        let now = self.time();
        if let Some(mut flow) = self.flow {
            let limits = self.limits;
            let fate = self.effects(|to| flow.unreachable(quoted_seq, got, now, &limits, to));
            self.flow = (fate == Fate::Keep).then_some(flow);
        }
        self
    }

    pub fn get(&self, cell: Cell) -> u64 {
        self.port.get(cell)
    }

    /// Asserts that exactly these handshakes are counted, and the identity.
    #[track_caller]
    pub fn outcomes(&self, expected: &[(Outcome, Traffic, u64)]) -> &Self {
        let mut found = Vec::new();
        for outcome in Outcome::ALL {
            for traffic in Traffic::ALL {
                let count = self.get(Cell::handshake(*outcome, *traffic));
                if count != 0 {
                    found.push((*outcome, *traffic, count));
                }
            }
        }
        assert_eq!(found, expected);
        assert!(self.port.balances());
        self
    }

    /// Asserts that exactly these failures were reported, in this order.
    #[track_caller]
    pub fn failures(&self, expected: &[(Failure, Reply)]) -> &Self {
        let found: Vec<_> = self.failed.iter().map(|f| (f.failure, f.reply)).collect();
        assert_eq!(found, expected);
        self
    }

    /// Asserts that exactly these closes are counted.
    #[track_caller]
    pub fn closes(&self, expected: &[(Close, Traffic, u64)]) -> &Self {
        let mut found = Vec::new();
        for close in Close::ALL {
            for traffic in Traffic::ALL {
                let count = self.get(Cell::close(*close, *traffic));
                if count != 0 {
                    found.push((*close, *traffic, count));
                }
            }
        }
        assert_eq!(found, expected);
        self
    }

    pub fn attempts(&self) -> u64 {
        self.get(Cell::ATTEMPTS)
    }

    pub fn pending(&self) -> u64 {
        self.get(Cell::PENDING)
    }

    pub fn retransmits(&self, kind: Retransmit) -> u64 {
        self.get(Cell::retransmit(kind))
    }

    /// The flow would make room for others.
    pub fn spent(&self) -> bool {
        self.flow.is_some_and(|flow| flow.is_spent(self.time()))
    }

    pub fn established(&self) -> bool {
        self.flow
            .is_some_and(|flow| flow.state == state::ESTABLISHED)
    }
}

pub fn segment(to_node: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Segment {
    Segment {
        to_node,
        flags,
        seq,
        ack,
        payload_len: payload.len() as u32,
        ifindex: 2,
        origin: if to_node {
            ResetOrigin::Client
        } else {
            ResetOrigin::Backend
        },
        probe_source: false,
        unchecked: false,
        routed: false,
    }
}
