//! Names of the interfaces that are tapped, and of those that were: by these, failures
//! and connections tell where they came in.

use std::collections::{BTreeMap, VecDeque};

use crate::evidence::InterfaceName;

/// Interfaces that are gone, whose names are kept: connections may outlive them.
const GONE: usize = 1024;

/// Names by index ([`tracer_common::failure::Failed::interface`]).
#[derive(Debug, Default)]
pub struct TappedNames {
    all: BTreeMap<u16, InterfaceName>,
    /// Indexes of those that are gone, the first to go first.
    gone: VecDeque<u16>,
}

impl TappedNames {
    /// These are there now. An index that the programs cannot tell has no name.
    pub fn follow<'a>(&mut self, now: impl Iterator<Item = (u32, &'a str)>) {
        let named = now.filter_map(|(index, name)| {
            Some((u16::try_from(index).ok()?, InterfaceName::new(name)?))
        });
        let now: BTreeMap<u16, InterfaceName> = named.collect();
        self.gone.retain(|index| !now.contains_key(index));
        for index in self.all.keys() {
            if !now.contains_key(index) && !self.gone.contains(index) {
                self.gone.push_back(*index);
            }
        }
        self.all.extend(now);
        while self.gone.len() > GONE {
            let first = self.gone.pop_front();
            first.and_then(|index| self.all.remove(&index));
        }
    }

    /// Index and name of those that are there now.
    pub fn here(&self) -> BTreeMap<u32, String> {
        let here = self.all.iter();
        let here = here.filter(|(index, _)| !self.gone.contains(index));
        here.map(|(index, name)| (u32::from(*index), name.as_str().to_owned()))
            .collect()
    }

    /// Names by index.
    pub fn all(&self) -> &BTreeMap<u16, InterfaceName> {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &TappedNames, index: u16) -> Option<&str> {
        names.all().get(&index).map(InterfaceName::as_str)
    }

    #[test]
    fn a_name_outlives_its_interface() {
        let mut names = TappedNames::default();
        names.follow([(2, "eth0"), (3, "eth1"), (65_536, "eth2")].into_iter());
        names.follow([(2, "ens5")].into_iter());
        assert_eq!(named(&names, 2), Some("ens5"), "it has another name now");
        assert_eq!(named(&names, 3), Some("eth1"));
        assert_eq!(names.all().len(), 2);
        // Another one has its index.
        names.follow([(2, "ens5"), (3, "tun0")].into_iter());
        assert_eq!(named(&names, 3), Some("tun0"));
    }

    #[test]
    fn those_that_went_first_are_forgotten_first() {
        let mut names = TappedNames::default();
        for index in 1..=5_000_u32 {
            names.follow([(1, "eth0"), (1 + index, "veth")].into_iter());
        }
        assert_eq!(names.all().len(), GONE + 2);
        assert_eq!(named(&names, 1), Some("eth0"));
        assert_eq!(
            (named(&names, 5_001), named(&names, 100)),
            (Some("veth"), None)
        );
    }
}
