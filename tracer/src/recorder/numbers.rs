//! Small numbers for what rounds name again and again, so that they need not spell
//! it out.

use std::{collections::HashMap, hash::Hash};

/// From this many on, numbers of what is forgotten are given again.
const MANY: usize = 256;

#[derive(Debug)]
pub(super) struct Numbers<T> {
    /// By number: what it stands for, and the last round that names it; `None`: free.
    all: Vec<Option<(T, u64)>>,
    numbers: HashMap<T, u32>,
    free: Vec<u32>,
    /// The oldest round that is kept.
    oldest: u64,
    /// The round that last looked for what is forgotten.
    swept: u64,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            oldest: 0,
            swept: 0,
        }
    }
}

impl<T: Copy + Eq + Hash> Numbers<T> {
    /// The number of what `round` names.
    pub(super) fn number(&mut self, named: T, round: u64) -> u64 {
        if let Some(number) = self.known(&named, round) {
            return number;
        }
        if self.free.is_empty() && self.all.len() >= MANY && self.all.len().is_power_of_two() {
            self.sweep(round);
        }
        self.give(named, round)
    }

    /// The same, while fewer than `most` are in use.
    pub(super) fn within(&mut self, most: usize, named: T, round: u64) -> Option<u64> {
        if let Some(number) = self.known(&named, round) {
            return Some(number);
        }
        let full = |all: &Self| all.free.is_empty() && all.all.len() >= most;
        if full(self) && self.swept != round {
            self.sweep(round);
        }
        (!full(self)).then(|| self.give(named, round))
    }

    /// The same plus one; 0 where there is nothing.
    pub(super) fn number_or_zero(&mut self, named: Option<T>, round: u64) -> u64 {
        named.map_or(0, |named| 1 + self.number(named, round))
    }

    fn known(&mut self, named: &T, round: u64) -> Option<u64> {
        let number = *self.numbers.get(named)?;
        if let Some(Some(known)) = self.all.get_mut(number as usize) {
            known.1 = round;
        }
        Some(u64::from(number))
    }

    fn give(&mut self, named: T, round: u64) -> u64 {
        let number = self.free.pop().unwrap_or(self.all.len() as u32);
        match self.all.get_mut(number as usize) {
            Some(free) => *free = Some((named, round)),
            None => self.all.push(Some((named, round))),
        }
        self.numbers.insert(named, number);
        u64::from(number)
    }

    /// What has a number.
    pub(super) fn at(&self, number: u64) -> Option<T> {
        let known = self.all.get(usize::try_from(number).ok()?)?;
        known.map(|(named, _)| named)
    }

    /// What [`Self::number_or_zero`] stands for; `None`: for nothing that is known.
    pub(super) fn at_or_none(&self, number: u64) -> Option<Option<T>> {
        match number.checked_sub(1) {
            Some(number) => self.at(number).map(Some),
            None => Some(None),
        }
    }

    /// Rounds before `oldest` are gone.
    pub(super) fn forget(&mut self, oldest: u64) {
        self.oldest = oldest;
    }

    /// Memory that they take, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.all.capacity() * size_of::<Option<(T, u64)>>()
            + self.numbers.capacity() * (size_of::<(T, u32)>() + 1)
    }

    fn sweep(&mut self, round: u64) {
        self.swept = round;
        for (number, known) in (0..).zip(&mut self.all) {
            if let Some((named, last)) = known
                && *last < self.oldest
            {
                self.numbers.remove(named);
                self.free.push(number);
                *known = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_again_once_no_round_names_them() {
        let mut numbers = Numbers::default();
        for i in 0..10_000_u64 {
            let number = numbers.number(i, i);
            assert_eq!(numbers.at(number), Some(i));
            numbers.forget(i.saturating_sub(100));
        }
        assert!(numbers.all.len() <= 2 * MANY, "{}", numbers.all.len());
        for i in 9_900..10_000 {
            let number = numbers.numbers[&i];
            assert_eq!(numbers.at(u64::from(number)), Some(i));
        }
    }

    #[test]
    fn beyond_the_most_there_are_none_until_some_are_forgotten() {
        let mut numbers = Numbers::default();
        let given = (0..20).filter_map(|i| numbers.within(8, i, 1)).count();
        assert_eq!((given, numbers.all.len()), (8, 8));
        numbers.forget(2);
        // Those that this round still names keep theirs.
        assert_eq!(numbers.within(8, 3, 2), Some(3));
        assert!((100..107).all(|i| numbers.within(8, i, 2).is_some()));
        assert_eq!(numbers.within(8, 107, 2), None);
        assert_eq!((numbers.at(3), numbers.all.len()), (Some(3), 8));
    }
}
