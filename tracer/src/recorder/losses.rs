//! Lines of the log on what could not be taken into account: one when it begins,
//! one when it has been over for a while.

use tracer_common::{counters::Cell, words::Lost};

use crate::snapshot::Snapshot;

/// Without a loss for so long it is over, nanoseconds.
const OVER: u64 = 60_000_000_000;
/// The losses that are told, [`UNTRACKED`] after those of [`Lost`].
const KINDS: usize = Lost::COUNT + 1;
const UNTRACKED: usize = Lost::COUNT;

/// Where losses happen that are this daemon's: what a packet lacks is the
/// network's doing.
fn words(kind: usize) -> Option<(&'static str, &'static str)> {
    if kind == UNTRACKED {
        return Some(("untracked", "the flow table is full (--flows) or busy"));
    }
    let stage = *Lost::ALL.get(kind)?;
    let why = match stage {
        Lost::Contention => "the locks of flows are busy",
        Lost::Dials => {
            "too many dials are within connect(2) at once: those that fail there are not counted"
        }
        Lost::Failures => "the table of kinds of failures is full: they are unexplained",
        Lost::Records => "the ring of records is full: they are counted, and no events",
        Lost::Backends => "the table of backends is full: failures there have none",
        Lost::Served => {
            "the table of established connections is full: whose they were is not known"
        }
        Lost::Latencies => {
            "the table of latencies is full: p50 and p99 may come from the histogram's buckets"
        }
        Lost::Fragment | Lost::Malformed => return None,
    };
    Some((stage.as_str(), why))
}

/// A time of losses.
#[derive(Clone, Copy, Debug)]
struct Spell {
    /// The count before.
    before: u64,
    /// When the last one was seen.
    last: u64,
}

/// What has been told of each.
#[derive(Debug, Default)]
pub(super) struct Losses {
    counts: [u64; KINDS],
    spells: [Option<Spell>; KINDS],
}

impl Losses {
    /// Looks at the counts at `now` (nanoseconds, monotonic).
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: u64) {
        let untracked = snapshot.ports.iter();
        let untracked = untracked.map(|(_, counters)| counters.get(Cell::UNTRACKED));
        let counts = snapshot.lost.into_iter().chain([untracked.sum()]);
        let known = self.counts.iter_mut().zip(&mut self.spells);
        for (kind, (count, (known, spell))) in counts.zip(known).enumerate() {
            let Some((stage, why)) = words(kind) else {
                continue;
            };
            let before = std::mem::replace(known, count);
            if count > before {
                if spell.is_none() {
                    tracing::warn!(stage, lost = count - before, "events are lost: {why}");
                }
                let before = spell.map_or(before, |spell| spell.before);
                *spell = Some(Spell { before, last: now });
            } else if let Some(ended) = spell.take_if(|spell| now.saturating_sub(spell.last) > OVER)
            {
                let lost = count.saturating_sub(ended.before);
                tracing::info!(stage, lost, "no more events are lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(dials: u64, malformed: u64) -> Snapshot {
        let mut lost = [0; Lost::COUNT];
        lost[Lost::Dials.index()] = dials;
        lost[Lost::Malformed.index()] = malformed;
        Snapshot {
            ports: Vec::new(),
            lost,
            flows: 0,
            sharing: vec![],
            misses: 0,
            addresses: 0,
            flows_capacity: 0,
            hooks: Vec::new(),
        }
    }

    /// Whether losses of dials, and any others, are going on.
    fn goes_on(losses: &Losses) -> (bool, usize) {
        let dials = losses.spells[Lost::Dials.index()].is_some();
        (dials, losses.spells.iter().flatten().count())
    }

    #[test]
    fn losses_begin_and_end() {
        let mut losses = Losses::default();
        losses.look(&snapshot(0, 7), 0);
        assert_eq!(goes_on(&losses), (false, 0));
        losses.look(&snapshot(5, 9), 1);
        losses.look(&snapshot(6, 9), OVER);
        losses.look(&snapshot(6, 9), 2 * OVER);
        assert_eq!(goes_on(&losses), (true, 1));
        losses.look(&snapshot(6, 9), 2 * OVER + 1);
        assert_eq!(goes_on(&losses), (false, 0));
    }
}
