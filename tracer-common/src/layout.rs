//! Whether kernel object and daemon mean the same by the same bytes: a number made at
//! compile time of sizes and offsets of all that they share, and of the words in their
//! order, which number cells. The object carries it, and the loader refuses another.

use core::mem::{offset_of, size_of};

use crate::config::{Mac, PortLine, RowPool, SWEEP_KEYS};
use crate::counters::{CELLS, LATENCY_BOUNDS_NS, PortCounters};
use crate::failure::{Backend, Failure, FailureKey, Note, Record, Reply, ServedKey};
use crate::first_bytes::{FirstBytes, MessageType, ProbeMethods, Protocol};
use crate::flow::{Addr, Flow, FlowKey, Forwarded};
use crate::latency::{LATENCY_CELLS, LatencyKey};
use crate::words::{Answer, Close, LocalOutcome, Lost, Outcome, ResetOrigin, Retransmit, Traffic};

/// The number.
pub const LAYOUT: u64 = words(numbers(types(0xcbf2_9ce4_8422_2325)));

/// One step of FNV-1a, 64 bits.
const fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0100_0000_01b3)
}

const fn mix_word(mut hash: u64, mut word: &[u8]) -> u64 {
    while let [byte, rest @ ..] = word {
        hash = mix(hash, *byte as u64);
        word = rest;
    }
    mix(hash, 256)
}

/// Mixes size and members of types; the pattern does not compile when a member is missing.
macro_rules! members {
    ($hash:ident: $($type:ident { $($member:ident),+ })+) => {{
        let mut hash = $hash;
        $(
            const _: fn($type) = |$type { $($member: _),+ }| ();
            hash = mix(hash, size_of::<$type>() as u64);
            $(hash = mix(hash, offset_of!($type, $member) as u64);)+
        )+
        hash
    }};
}

const fn types(hash: u64) -> u64 {
    let hash = members!(hash:
        FlowKey { client, node, client_port, node_port }
        Flow {
            syn_at, since, isn, server_isn, client_next, server_next, ifindex_in, ifindex_out,
            seen_s, row, state, flags, traffic, closer, syn_message, marks, backend, reply, code,
            asked_at, first
        }
        Forwarded { syn_at, flow, isn }
        Note { at, location, reason, reset_reason, seen, drops, pad, netns }
        FailureKey {
            location, reason, reset_reason, slot, backend, failure, reply, code, address, seen,
            interface, netns
        }
        ServedKey { client, node, slot, backend, interface, pad }
        Backend { addr, attempts, passive_opens, seen_s, port, slot }
        Record { at, syn_at, flow, key, traffic, pad }
        RowPool { lock, next, end }
        LatencyKey { row, cell }
    );
    let sizes = [
        size_of::<Addr>(),
        size_of::<FirstBytes>(),
        size_of::<Mac>(),
        size_of::<PortCounters>(),
        size_of::<PortLine>(),
        size_of::<ProbeMethods>(),
    ];
    mix_all(hash, &sizes)
}

const fn mix_all(mut hash: u64, mut numbers: &[usize]) -> u64 {
    while let [number, rest @ ..] = numbers {
        hash = mix(hash, *number as u64);
        numbers = rest;
    }
    hash
}

const fn numbers(hash: u64) -> u64 {
    let mut hash = mix_all(hash, &[CELLS, LATENCY_CELLS, SWEEP_KEYS as usize]);
    let mut bounds = LATENCY_BOUNDS_NS.as_slice();
    while let [bound, rest @ ..] = bounds {
        hash = mix(hash, *bound);
        bounds = rest;
    }
    hash
}

/// Mixes closed sets of words, each in its order.
macro_rules! sets {
    ($hash:ident: $($set:ident)+) => {{
        let mut hash = $hash;
        $(
            let mut all = $set::ALL;
            while let [word, rest @ ..] = all {
                hash = mix_word(hash, word.as_str().as_bytes());
                all = rest;
            }
        )+
        hash
    }};
}

const fn words(hash: u64) -> u64 {
    sets!(hash: Outcome Traffic Answer Close Retransmit ResetOrigin LocalOutcome Lost MessageType
        Protocol Failure Reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Before {
        a: u16,
        b: u8,
    }

    #[repr(C)]
    struct After {
        b: u8,
        a: u16,
    }

    #[test]
    fn members_that_change_places_are_another_layout() {
        let hash = 1;
        let before = members!(hash: Before { a, b });
        assert_ne!(before, members!(hash: After { a, b }));
        assert_ne!(mix_word(hash, b"rst"), mix_word(hash, b"icmp"));
        assert_ne!(mix_all(hash, &[1, 2]), mix_all(hash, &[2, 1]));
    }
}
