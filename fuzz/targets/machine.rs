//! The handshake machine: the accounting identity after every step, one report
//! a step, every attempt one outcome, and sweeps that decide nothing.

use tracer_common::{
    counters::{Cell, PortCounters, Tally},
    failure::{Failed, Failure, Got, Reply},
    first_bytes::ProbeMethods,
    flow::Flow,
    machine::{Fate, Limits, Now, Segment},
    words::{ResetOrigin, Traffic},
};

const S: u64 = 1_000_000_000;
const LIMITS: Limits = Limits {
    handshake_timeout_ns: 5 * S,
    idle_after_ns: 5 * S,
    expire_after_s: 3600,
    half_closed_after_s: 120,
    probes: ProbeMethods::new(),
};
const KINDS: usize = Failure::ALL.len();
const PAYLOAD: [u8; 40] = *b"\x80\x01\x00\x01\x00\x00\x00\x04pingpongpingpongpingpongpingpong";

struct Effects<'a> {
    port: &'a mut PortCounters,
    failed: Option<Failed>,
}

impl Tally for Effects<'_> {
    fn add(&mut self, cell: Cell, delta: i64) {
        self.port.add(cell, delta);
    }

    fn failed(&mut self, failed: Failed) {
        assert!(self.failed.replace(failed).is_none(), "a step reports once");
    }
}

/// One flow's place in the table, and its port.
struct Lab {
    flow: Option<Flow>,
    port: PortCounters,
    /// By [`Failure`].
    reported: [u64; KINDS],
    ns: u64,
}

impl Lab {
    fn new() -> Self {
        Self {
            flow: None,
            port: PortCounters::ZERO,
            reported: [0; KINDS],
            ns: 1_000 * S,
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut Flow, Now, &mut Effects<'_>) -> Fate) {
        let Some(mut flow) = self.flow else { return };
        let now = Now {
            ns: self.ns,
            s: (self.ns / S) as u32,
        };
        let mut effects = Effects {
            port: &mut self.port,
            failed: None,
        };
        let fate = step(&mut flow, now, &mut effects);
        if let Some(failed) = effects.failed {
            self.reported[failed.failure as usize] += 1;
        }
        self.flow = (fate == Fate::Keep).then_some(flow);
        self.check();
    }

    fn sweep(&mut self) {
        self.step(|flow, now, to| flow.tick(now, &LIMITS, to));
    }

    fn segment(&mut self, segment: &Segment, payload: &[u8]) {
        let opens = segment.to_node && segment.is_syn();
        if opens {
            self.flow.get_or_insert_default();
        }
        self.step(|flow, now, to| {
            if !opens && flow.quick(segment, payload, now.s, || LIMITS.quiet_s(), to) {
                return Fate::Keep;
            }
            flow.step(segment, payload, now, &LIMITS, to)
        });
    }

    fn check(&self) {
        assert!(self.port.balances(), "{:?}", self.port);
        assert!(self.port.get(Cell::PENDING) <= 1);
        assert!(self.port.get(Cell::UNREPORTED) <= 1);
        let open = Traffic::ALL.iter().map(|t| self.port.get(Cell::open(*t)));
        assert!(open.sum::<u64>() <= 1);
        let attempts = Failure::ALL.iter().filter(|f| f.is_attempt());
        let reported = attempts.map(|f| self.reported[*f as usize]);
        assert!(reported.sum::<u64>() <= self.port.get(Cell::ATTEMPTS));
    }

    /// Nothing comes any more: time decides the rest.
    fn end(&mut self) {
        for _ in 0..50 {
            self.ns += 100 * S;
            self.sweep();
        }
        assert!(self.flow.is_none());
        assert_eq!(
            self.port.get(Cell::PENDING) + self.port.get(Cell::UNREPORTED),
            0
        );
        assert_eq!(
            self.port.outcomes(),
            self.port.get(Cell::ATTEMPTS) - self.port.get(Cell::UNTRACKED)
        );
    }
}

/// Numbers near those that matter; the rest is anything.
fn number(selector: u8, value: u8) -> u32 {
    let base = [0_u32, 0xffff_fff0, 7_000, 0x8000_0000][usize::from(selector & 3)];
    let shift = u32::from(selector >> 2 & 15);
    let step = u32::from(value) << shift.min(24);
    if selector & 64 == 0 {
        base.wrapping_add(step)
    } else {
        base.wrapping_sub(step)
    }
}

/// Each event is 8 bytes: kind, flags, two for each number, payload, time.
pub fn run(data: &[u8]) {
    let (mut swept, mut unswept) = (Lab::new(), Lab::new());
    for event in data.chunks_exact(8).take(256) {
        let &[kind, flags, s, seq, a, ack, len, time] = event else {
            return;
        };
        let passes = u64::from(time & 63) << (time >> 6 << 3) << 10;
        for lab in [&mut swept, &mut unswept] {
            lab.ns += passes;
        }
        swept.sweep();
        let payload = &PAYLOAD[..usize::from(len % 41)];
        let segment = Segment {
            to_node: kind & 1 == 0,
            flags: flags & 0x1f,
            seq: number(s, seq),
            ack: number(a, ack),
            payload_len: payload.len() as u32 + if len > 240 { 70_000 } else { 0 },
            ifindex: 2 + u32::from(kind >> 1 & 1),
            origin: ResetOrigin::Backend,
            probe_source: kind & 4 != 0,
            unchecked: kind & 8 != 0,
            routed: kind & 16 != 0,
        };
        for lab in [&mut swept, &mut unswept] {
            if kind & 0xe0 == 0xe0 {
                let got = Got {
                    reply: Reply::Icmp,
                    code: flags,
                };
                lab.step(|flow, now, to| flow.unreachable(segment.seq, got, now, &LIMITS, to));
            } else {
                lab.segment(&segment, payload);
            }
        }
    }
    swept.end();
    unswept.end();
    assert_eq!(swept.port, unswept.port, "a sweep has decided something");
    assert_eq!(swept.reported, unswept.reported, "or reported something");
}
