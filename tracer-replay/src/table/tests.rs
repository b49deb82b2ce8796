//! The table beside one that asks every flow in every second, and how often it asks.

use std::collections::HashMap;

use proptest::prelude::*;
use tracer_common::{
    failure::{Got, Reply},
    first_bytes::ProbeMethods,
    flow::Addr,
    machine::tcp::{ACK, FIN, RST, SYN},
    words::ResetOrigin,
};

use super::*;

const S: u64 = 1_000_000_000;
const PORT: u16 = 30_080;
const LIMITS: Limits = Limits {
    handshake_timeout_ns: 5 * S,
    idle_after_ns: 5 * S,
    expire_after_s: 3_600,
    half_closed_after_s: 120,
    probes: ProbeMethods::new(),
};

fn key(client: u32) -> FlowKey {
    FlowKey {
        client: Addr::v4(client.to_be_bytes()),
        node: Addr::v4([10, 0, 0, 2]),
        client_port: 40_000,
        node_port: PORT,
    }
}

fn segment(to_node: bool, flags: u8, seq: u32, ack: u32) -> Segment {
    Segment {
        to_node,
        flags,
        seq,
        ack,
        payload_len: 0,
        ifindex: 1,
        origin: ResetOrigin::Node,
        probe_source: false,
        unchecked: false,
        routed: false,
    }
}

/// Asks all flows in all seconds.
struct Naive {
    flows: HashMap<FlowKey, Flow>,
    ports: Ports,
    failures: Failures,
    swept_s: u32,
}

impl Naive {
    fn new() -> Self {
        Self {
            flows: HashMap::new(),
            ports: Ports::new(&[PORT]),
            failures: Failures::new(1_000),
            swept_s: 0,
        }
    }

    fn change(
        &mut self,
        key: &FlowKey,
        now: Now,
        apply: impl FnOnce(&mut Flow, &mut ports::Effects<'_>) -> Fate,
    ) {
        let slot = self.ports.slot(PORT);
        let flow = self.flows.entry(*key).or_insert_with(|| Flow {
            row: slot,
            ..Flow::default()
        });
        let mut effects = self.ports.effects(slot).unwrap();
        let fate = apply(flow, &mut effects);
        if let Some(failed) = effects.failed {
            self.failures.count(key, slot, &failed, now);
        }
        if fate == Fate::Remove {
            self.flows.remove(key);
        }
    }

    fn tick(&mut self, now: Now, concerns: impl Fn(&Flow) -> bool) {
        let flows = self.flows.iter();
        let keys: Vec<FlowKey> = flows
            .filter(|(_, flow)| concerns(flow))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.change(&key, now, |flow, effects| flow.tick(now, &LIMITS, effects));
        }
    }

    fn pass(&mut self, now: Now) {
        for s in self.swept_s + 1..=now.s {
            self.tick(clock::at_second(s), |_| true);
        }
        self.swept_s = now.s.max(self.swept_s);
    }
}

type Records = Vec<(u64, String)>;

fn sorted(failures: &Failures) -> Records {
    let records = failures.records.iter();
    let mut records: Records = records
        .map(|record| (record.at, format!("{record:?}")))
        .collect();
    records.sort();
    records
}

/// Which flow, which segment, and milliseconds before it.
type Step = (u32, usize, u32);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![
        20 => 0..900_u32,
        20 => 900..12_000_u32,
        3 => 100_000..200_000_u32,
        1 => 0..4_000_000_u32,
    ];
    prop::collection::vec((0..4_u32, 0..SEGMENTS.len(), pause), 1..60)
}

/// From the client or not, flags, sequence and acknowledgment number.
const SEGMENTS: [(bool, u8, u32, u32); 11] = [
    (true, SYN, 100, 0),
    (true, SYN, 9_000_000, 0),
    (false, SYN | ACK, 500, 101),
    (true, ACK, 101, 501),
    (true, ACK, 101, 501),
    (true, ACK | FIN, 101, 501),
    (false, ACK | FIN, 501, 102),
    (false, RST | ACK, 0, 101),
    (false, RST | ACK, 501, 102),
    (true, RST, 101, 0),
    // Stands for an ICMP error.
    (false, 0, 100, 0),
];

proptest! {
    #[test]
    fn what_is_asked_when_due_is_the_same_as_always_asking(steps in steps()) {
        let mut table = Table::new(LIMITS, &[PORT], 1_000);
        let mut naive = Naive::new();
        let mut ns = S;
        for (client, which, pause) in steps {
            ns += u64::from(pause) * 1_000_000;
            let (key, now) = (key(client), clock::now(ns));
            let (to_node, flags, seq, ack) = SEGMENTS[which];
            table.pass(now);
            naive.pass(now);
            if flags == 0 {
                let got = Got { reply: Reply::Icmp, code: 3 };
                let quote = Quote {
                    src: key.client,
                    dst: key.node,
                    src_port: key.client_port,
                    dst_port: key.node_port,
                    seq,
                    got,
                };
                table.unreachable(&key, &quote, now);
                if naive.flows.contains_key(&key) {
                    naive.change(&key, now, |flow, effects| {
                        flow.unreachable(seq, got, now, &LIMITS, effects)
                    });
                }
                continue;
            }
            let segment = segment(to_node, flags, seq, ack);
            let taken = table.segment(&key, &segment, &b""[..], now);
            let known = naive.flows.contains_key(&key) || segment.to_node && segment.is_syn();
            prop_assert_eq!(taken, known);
            if known {
                naive.change(&key, now, |flow, effects| {
                    flow.step(&segment, &b""[..], now, &LIMITS, effects)
                });
            }
            prop_assert_eq!(table.flows(), naive.flows.len());
        }
        let now = clock::now(ns);
        table.finish(now);
        naive.tick(now, |_| true);
        let later = clock::now(ns + OWED_NS);
        naive.tick(later, |flow| flow.marks & mark::OWED != 0);
        prop_assert_eq!(table.counters(), naive.ports.counters().to_vec());
        prop_assert_eq!(&table.failures.kinds, &naive.failures.kinds);
        prop_assert_eq!(sorted(&table.failures), sorted(&naive.failures));
    }
}

/// Open connections, and a packet in each of many seconds.
#[test]
fn flows_at_rest_are_not_asked_again_and_again() {
    const OPEN: u32 = 2_000;
    let mut table = Table::new(LIMITS, &[PORT], 0);
    let mut play = |ns: u64, client: u32, step: usize| {
        let (to_node, flags, seq, ack) = SEGMENTS[step];
        let now = clock::now(ns);
        table.pass(now);
        table.segment(
            &key(client),
            &segment(to_node, flags, seq, ack),
            &b""[..],
            now,
        );
    };
    for client in 0..OPEN {
        for step in [0, 2, 3] {
            play(S + u64::from(client), client, step);
        }
    }
    for s in 2..1_000 {
        play(s * S, 0, 4);
    }
    assert_eq!(table.flows(), OPEN as usize);
    // Once when it was pending, once when it became idle.
    assert!(table.visits() <= 3 * u64::from(OPEN), "{}", table.visits());
}

#[test]
fn what_has_no_room_is_counted_as_not_followed() {
    let mut table = Table::new(LIMITS, &[PORT], 0).with_room(100);
    for client in 0..1_000 {
        let now = clock::now(S + u64::from(client));
        table.segment(&key(client), &segment(true, SYN, 100, 0), &b""[..], now);
        assert!(table.flows() <= 100 && table.balances());
    }
    let [(PORT, counters)] = table.counters()[..] else {
        panic!("{:?}", table.counters());
    };
    let found = [Cell::ATTEMPTS, Cell::UNTRACKED, Cell::PENDING].map(|cell| counters.get(cell));
    assert_eq!(found, [1_000, 900, 100]);
    // There is room again once time has let them go.
    table.pass(clock::now(3_600 * S));
    table.segment(
        &key(5_000),
        &segment(true, SYN, 100, 0),
        &b""[..],
        clock::now(3_600 * S),
    );
    assert_eq!((table.flows(), table.balances()), (1, true));
}
