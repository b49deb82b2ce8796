//! A port's counters as the daemon keeps them. Most cells of most ports are 0 for ever, and
//! with thousands of watched ports each copy of all cells would take megabytes.

use tracer_common::{
    counters::{CELLS, Cell, PortCounters},
    latency::LATENCY_CELLS,
};

/// The cells of a port, and after them the fine ones of its answers' latencies.
const ALL: usize = CELLS + LATENCY_CELLS;
const WORDS: usize = ALL.div_ceil(64);

/// Counters of one port, without those that are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// A bit for each cell, by position: whether it is not 0.
    present: [u64; WORDS],
    /// Those that are not, in the order of their positions.
    values: Box<[u64]>,
}

impl Counted {
    /// A port's cells, and how many answers took as long as each fine cell says,
    /// ascending ([`tracer_common::latency`]).
    #[must_use]
    pub fn new(counters: &PortCounters, latencies: impl Iterator<Item = (u16, u64)>) -> Self {
        let latencies = latencies.map(|(cell, count)| (CELLS as u16 + cell, count));
        (0..).zip(counters.0).chain(latencies).collect()
    }

    /// Answers by fine cell, ascending, without those that are 0.
    pub fn latencies(&self) -> impl Iterator<Item = (u16, u64)> {
        let fine = |(at, count): (u16, u64)| Some((at.checked_sub(CELLS as u16)?, count));
        self.cells().filter_map(fine)
    }

    /// Reads one cell.
    #[must_use]
    pub fn get(&self, cell: Cell) -> u64 {
        let (word, bit) = (cell.index() / 64, 1_u64 << (cell.index() % 64));
        let bits = self.present.get(word).copied().unwrap_or_default();
        if bits & bit == 0 {
            return 0;
        }
        let words = self.present.iter().take(word);
        let before: u32 = words.map(|bits| bits.count_ones()).sum();
        let at = before + (bits & (bit - 1)).count_ones();
        self.values.get(at as usize).copied().unwrap_or_default()
    }

    /// Positions of the cells that have changed since they were `before`, ascending, and
    /// by how much, modulo 2^64.
    pub fn since(&self, before: &Self) -> impl Iterator<Item = (u16, u64)> {
        let mut now = self.cells().peekable();
        let mut then = before.cells().peekable();
        std::iter::from_fn(move || {
            let at = now
                .peek()
                .into_iter()
                .chain(then.peek())
                .map(|(at, _)| *at)
                .min()?;
            let new = now.next_if(|(of, _)| *of == at).map_or(0, |(_, new)| new);
            let old = then.next_if(|(of, _)| *of == at).map_or(0, |(_, old)| old);
            Some((at, new.wrapping_sub(old)))
        })
        .filter(|(_, by)| *by != 0)
    }

    /// Positions and values of the cells that are not 0, ascending.
    pub fn cells(&self) -> impl Iterator<Item = (u16, u64)> {
        let is_present = |at: &u16| {
            let word = self.present.get(usize::from(at / 64));
            word.is_some_and(|bits| bits & 1 << (at % 64) != 0)
        };
        let places = (0..ALL as u16).filter(is_present);
        places.zip(self.values.iter().copied())
    }
}

/// Of cells by ascending position; what is beyond the last cell is left out.
impl FromIterator<(u16, u64)> for Counted {
    fn from_iter<I: IntoIterator<Item = (u16, u64)>>(cells: I) -> Self {
        let mut present = [0; WORDS];
        let mut values = Vec::new();
        for (at, value) in cells {
            let word = present.get_mut(usize::from(at / 64));
            if let Some(word) = word.filter(|_| value != 0) {
                *word |= 1 << (at % 64);
                values.push(value);
            }
        }
        let values = values.into();
        Self { present, values }
    }
}

impl From<&PortCounters> for Counted {
    fn from(counters: &PortCounters) -> Self {
        Self::new(counters, std::iter::empty())
    }
}

/// Without the fine cells.
impl From<&Counted> for PortCounters {
    fn from(counted: &Counted) -> Self {
        let mut counters = Self::ZERO;
        for (at, value) in counted.cells() {
            if let Some(cell) = counters.0.get_mut(usize::from(at)) {
                *cell = value;
            }
        }
        counters
    }
}

#[cfg(test)]
impl tracer_common::counters::Tally for Counted {
    fn add(&mut self, cell: Cell, delta: i64) {
        let mut counters = PortCounters::from(&*self);
        counters.add(cell, delta);
        let latencies: Vec<_> = self.latencies().collect();
        *self = Self::new(&counters, latencies.into_iter());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_common::{
        counters::LATENCY_BUCKETS,
        words::{Answer, Outcome, Traffic},
    };

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_lost(cells in prop::collection::btree_map(0..CELLS, 0..3_u64, 0..CELLS)) {
            let mut counters = PortCounters::ZERO;
            for (at, value) in cells {
                counters.0[at] = value;
            }
            let counted = Counted::from(&counters);
            prop_assert_eq!(PortCounters::from(&counted), counters);
            prop_assert_eq!(counted.cells().collect::<Counted>(), counted.clone());
            let latency = (0..LATENCY_BUCKETS).map(|i| Cell::latency(Answer::Icmp, i));
            let outcome = Cell::handshake(Outcome::Cancelled, Traffic::Idle);
            for cell in latency.chain([Cell::ATTEMPTS, outcome]) {
                prop_assert_eq!(counted.get(cell), counters.get(cell));
            }
        }
    }
}
