//! Numbers for the node's own addresses, by which failures tell what was dialled: one
//! byte, as it stands in a [`tracer_common::failure::FailureKey`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Numbers that addresses may have which no packet can be sent to by an interface that
/// is up: IPVS puts the address of each Service on an interface that is down.
const INNER: usize = 127;
/// Seconds after an address has gone until its number may be another's: windows reach
/// back as far.
const AGAIN_AFTER_S: u32 = 15 * 60;

#[derive(Debug)]
struct Held {
    ip: IpAddr,
    /// It can be sent to by an interface that is up.
    outer: bool,
    /// When it went, seconds of the coarse clock.
    gone_s: Option<u32>,
}

/// Who has which number.
#[derive(Debug, Default)]
pub struct Numbers(BTreeMap<u8, Held>);

impl Numbers {
    /// The number of an address that the node has; 0: all are in use.
    pub fn give(&mut self, ip: IpAddr, outer: bool) -> u8 {
        if let Some((number, held)) = self.0.iter_mut().find(|(_, held)| held.ip == ip) {
            held.gone_s = None;
            return *number;
        }
        if !outer && self.0.values().filter(|held| !held.outer).count() >= INNER {
            return 0;
        }
        let Some(free) = (1..=u8::MAX).find(|number| !self.0.contains_key(number)) else {
            return 0;
        };
        let gone_s = None;
        self.0.insert(free, Held { ip, outer, gone_s });
        free
    }

    /// The node has lost an address.
    pub fn gone(&mut self, ip: IpAddr, now_s: u32) {
        if let Some(held) = self.0.values_mut().find(|held| held.ip == ip) {
            held.gone_s = Some(now_s);
        }
    }

    /// The numbers of addresses that are long gone.
    pub fn past(&self, now_s: u32) -> BTreeSet<u8> {
        let past = |s: u32| now_s.saturating_sub(s) >= AGAIN_AFTER_S;
        let all = self.0.iter();
        let gone = all.filter(|(_, held)| held.gone_s.is_some_and(past));
        gone.map(|(number, _)| *number).collect()
    }

    /// Lets these be given again: nothing names them any more.
    pub fn free(&mut self, numbers: &BTreeSet<u8>) {
        self.0.retain(|number, _| !numbers.contains(number));
    }

    /// Addresses by number.
    pub fn all(&self) -> BTreeMap<u8, IpAddr> {
        let all = self.0.iter();
        all.map(|(number, held)| (*number, held.ip)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(i: u32) -> IpAddr {
        IpAddr::from(i.to_be_bytes())
    }

    #[test]
    fn a_number_stays_its_address_s_until_that_is_long_gone() {
        let mut numbers = Numbers::default();
        assert_eq!(
            [numbers.give(ip(1), true), numbers.give(ip(2), true)],
            [1, 2]
        );
        numbers.gone(ip(1), 100);
        assert_eq!(numbers.give(ip(3), true), 3);
        assert_eq!(numbers.past(100 + AGAIN_AFTER_S - 1), BTreeSet::new());
        // It is back: the same number, and no longer gone.
        assert_eq!(numbers.give(ip(1), true), 1);
        assert_eq!(numbers.past(u32::MAX), BTreeSet::new());
        numbers.gone(ip(1), 200);
        let past = numbers.past(200 + AGAIN_AFTER_S);
        assert_eq!(past, [1].into());
        numbers.free(&past);
        assert_eq!(numbers.give(ip(4), true), 1);
        assert_eq!(numbers.all(), [(1, ip(4)), (2, ip(2)), (3, ip(3))].into());
    }

    #[test]
    fn addresses_of_services_leave_room_for_those_of_interfaces() {
        let mut numbers = Numbers::default();
        let inner = (0..1000).filter(|i| numbers.give(ip(*i), false) != 0);
        assert_eq!(inner.count(), INNER);
        let outer = (1000..2000).filter(|i| numbers.give(ip(*i), true) != 0);
        assert_eq!(outer.count(), 255 - INNER);
        assert_eq!(numbers.all().len(), 255);
    }
}
