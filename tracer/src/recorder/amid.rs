//! What worked in the midst of failures: connections of the rounds that lie wholly
//! between two failures of a kind which are close to each other.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    history::{History, Kind},
    remembered::Befell,
    served::Counts,
};
use crate::evidence::Served;

/// Two failures that are farther apart may well be two faults, nanoseconds.
const APART: u64 = 10_000_000_000;
/// Kinds that are looked at, those with the most that is remembered first.
const KINDS: usize = 256;
/// Connections told apart while a kind's are summed, and in the end.
const SUMMED: usize = 64;
const TOLD: usize = 32;

/// Whether what lasted from `began` to `ended` lies between two of these ascending times
/// that are close to each other.
fn is_between(times: &[u64], began: u64, ended: u64) -> bool {
    let before = times.partition_point(|at| *at <= began).checked_sub(1);
    let before = before.and_then(|place| times.get(place));
    let after = times.get(times.partition_point(|at| *at < ended));
    match (before, after) {
        (Some(before), Some(after)) => after - before <= APART,
        _ => false,
    }
}

/// What is remembered of each kind, and the rounds that lie in the midst of it.
struct Midst<'a> {
    kind: &'a Kind,
    counts: Counts,
}

/// By kind, the connections of rounds from number `first` on.
pub(super) fn amid(
    history: &History,
    first: u64,
    befell: &BTreeMap<Kind, Befell>,
) -> BTreeMap<Kind, Vec<Served>> {
    let mut kinds: Vec<(&Kind, &Befell)> =
        befell.iter().filter(|(_, b)| b.times.len() > 1).collect();
    kinds.sort_by_key(|(_, befell)| Reverse(befell.times.len()));
    kinds.truncate(KINDS);
    let mut all: Vec<Midst<'_>> = kinds
        .iter()
        .map(|(kind, _)| Midst {
            kind,
            counts: Counts::new(),
        })
        .collect();
    history.each_served(first, |began, ended, read| {
        let midst = kinds.iter().zip(&mut all);
        let midst = midst.filter(|((_, befell), _)| is_between(&befell.times, began, ended));
        let mut midst = midst.map(|(_, midst)| midst).peekable();
        if midst.peek().is_none() {
            return;
        }
        let served = read();
        for midst in midst {
            midst.add(&served);
        }
    });
    let all = all.into_iter().filter(|midst| !midst.counts.is_empty());
    all.map(|midst| (*midst.kind, midst.told())).collect()
}

impl Midst<'_> {
    fn add(&mut self, served: &Counts) {
        let its = served
            .iter()
            .filter(|(whose, _)| whose.node_port == self.kind.node_port);
        for (whose, count) in its {
            if let Some(sum) = self.counts.get_mut(whose) {
                *sum += count;
            } else if self.counts.len() < SUMMED {
                self.counts.insert(*whose, *count);
            }
        }
    }

    fn told(self) -> Vec<Served> {
        let mut all = Vec::from_iter(self.counts);
        all.sort_by_key(|(whose, count)| (Reverse(*count), *whose));
        all.truncate(TOLD);
        all.into_iter()
            .map(|(whose, count)| whose.served(count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn only_what_lies_wholly_between_close_failures_is_amid_them() {
        let times = [10, 12, 30, 39].map(|s| s * SECOND);
        let between = |began, ended| is_between(&times, began * SECOND, ended * SECOND);
        assert!(between(10, 12) && between(11, 12) && between(10, 11));
        // From before the first, until after the last, in neither.
        assert!(!between(9, 11) && !between(38, 40) && !between(40, 41));
        // Between failures, but 18 s apart; and 9 s.
        assert!(!between(13, 14) && between(33, 34));
        // Round the third failure: from 12 to 39 it is too long.
        assert!(!between(29, 31));
        // Many, denser than rounds.
        let dense: Vec<u64> = (0..100).map(|i| i * SECOND / 10).collect();
        assert!(
            is_between(&dense, SECOND, 2 * SECOND) && !is_between(&dense, 9 * SECOND, 10 * SECOND)
        );
        assert!(!is_between(&[], 0, 1) && !is_between(&[5], 5, 5 + APART));
    }
}
