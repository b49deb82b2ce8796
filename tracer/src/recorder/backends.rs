//! Small numbers for backends, so that a round need not spell them out.

use std::{collections::HashMap, net::SocketAddr};

/// A node port and where NAT sends it.
pub(super) type Place = (u16, SocketAddr);

/// From this many on, numbers of forgotten backends are given again.
const MANY: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Backends {
    /// By number: the place and the last round that names it; `None`: free.
    all: Vec<Option<(Place, u64)>>,
    numbers: HashMap<Place, u32>,
    free: Vec<u32>,
    /// The oldest round that is kept.
    oldest: u64,
}

impl Backends {
    /// The number of a place that `round` names.
    pub(super) fn number(&mut self, place: Place, round: u64) -> u64 {
        if let Some(number) = self.numbers.get(&place) {
            if let Some(Some(known)) = self.all.get_mut(*number as usize) {
                known.1 = round;
            }
            return u64::from(*number);
        }
        if self.free.is_empty() && self.all.len() >= MANY && self.all.len().is_power_of_two() {
            self.sweep();
        }
        let number = self.free.pop().unwrap_or(self.all.len() as u32);
        match self.all.get_mut(number as usize) {
            Some(free) => *free = Some((place, round)),
            None => self.all.push(Some((place, round))),
        }
        self.numbers.insert(place, number);
        u64::from(number)
    }

    /// What has a number.
    pub(super) fn at(&self, number: u64) -> Option<Place> {
        let known = self.all.get(usize::try_from(number).ok()?)?;
        known.map(|(place, _)| place)
    }

    /// Rounds before `oldest` are gone.
    pub(super) fn forget(&mut self, oldest: u64) {
        self.oldest = oldest;
    }

    /// Memory that they take, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.all.capacity() * size_of::<Option<(Place, u64)>>()
            + self.numbers.capacity() * (size_of::<(Place, u32)>() + 1)
    }

    fn sweep(&mut self) {
        for (number, known) in (0..).zip(&mut self.all) {
            if let Some((place, last)) = known
                && *last < self.oldest
            {
                self.numbers.remove(place);
                self.free.push(number);
                *known = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(i: u32) -> Place {
        (30080, SocketAddr::from((i.to_be_bytes(), 80)))
    }

    #[test]
    fn numbers_are_given_again_once_no_round_names_them() {
        let mut backends = Backends::default();
        for i in 0..10_000 {
            let round = u64::from(i);
            let number = backends.number(place(i), round);
            assert_eq!(backends.at(number), Some(place(i)));
            backends.forget(round.saturating_sub(100));
        }
        assert!(backends.all.len() <= 2 * MANY, "{}", backends.all.len());
        for i in 9_900..10_000 {
            let number = backends.numbers[&place(i)];
            assert_eq!(backends.at(u64::from(number)), Some(place(i)));
        }
    }
}
