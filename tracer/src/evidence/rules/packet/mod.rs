//! What is known of a SYN at one point of its way, and what tests say of it.
//! `None` of a test: it cannot be decided.

mod bytes;

use std::net::{IpAddr, SocketAddr};

use super::table::{Side, Test, state};
use crate::evidence::InterfaceName;

const TCP: u8 = 6;
const SYN: u8 = 2;
/// ECN's: a SYN may have them.
const ECN: u8 = 0xc0;
/// rtnetlink.h
const UNICAST: u16 = 1 << 1;
const LOCAL: u16 = 1 << 2;
/// enum ip_conntrack_status
const SOURCE_NAT: u32 = 1 << 4;
const DESTINATION_NAT: u32 = 1 << 5;
const DECIDED: u32 = DESTINATION_NAT | 1 | 2 | 4 | 8;

/// A name, or none where there is no interface.
#[derive(Clone, Debug)]
pub enum Interface {
    Missing,
    Open,
    Named(String),
}

impl From<Option<InterfaceName>> for Interface {
    fn from(name: Option<InterfaceName>) -> Self {
        name.map_or(Self::Open, |name| Self::Named(name.to_string()))
    }
}

impl From<Option<String>> for Interface {
    fn from(name: Option<String>) -> Self {
        name.map_or(Self::Open, Self::Named)
    }
}

#[derive(Clone, Debug)]
pub struct Packet<'a> {
    pub client: IpAddr,
    pub client_port: Option<u16>,
    /// What it may be for.
    pub destinations: Vec<SocketAddr>,
    /// There may be more of these.
    pub open: bool,
    pub interface: Interface,
    pub way_out: Interface,
    /// Bits that are known, and these bits.
    pub mark: (u32, u32),
    /// Bits of [`state`].
    pub state: u16,
    /// Whether NAT changed its destination.
    pub translated: Option<bool>,
    /// Addresses of the node; `None`: they could not be read.
    pub own: Option<&'a [IpAddr]>,
    /// The node's own address that it was sent to.
    pub dialled: IpAddr,
    /// The client may be any of its family.
    pub any_client: bool,
}

impl Packet<'_> {
    pub fn test(&self, test: &Test) -> Option<bool> {
        match test {
            Test::Address { side, not, net } => self
                .address(*side, |a| net.contains(&a))
                .map(|fits| fits != *not),
            Test::Between { side, not, ends } => {
                let fits = |a| {
                    let same = |b: &IpAddr| b.is_ipv4() == IpAddr::is_ipv4(&a);
                    same(&ends.0) && ends.0 <= a && a <= ends.1
                };
                self.address(*side, fits).map(|fits| fits != *not)
            }
            Test::Ports { side, not, ranges } => {
                let fits = |port| {
                    ranges
                        .iter()
                        .any(|(low, high)| (*low..=*high).contains(&port))
                };
                self.port(*side, fits).map(|fits| fits != *not)
            }
            Test::Interface {
                out,
                not,
                prefix,
                name,
            } => {
                let of = if *out { &self.way_out } else { &self.interface };
                named(of, name, *prefix).map(|fits| fits != *not)
            }
            Test::Protocol { not, number } => Some((*number == TCP) != *not),
            Test::Flags { not, mask, value } => flags(*mask, *value).map(|fits| fits != *not),
            Test::Mark { not, mask, value } => self.marked(*mask, *value).map(|fits| fits != *not),
            Test::State { not, any } => self.stated(*any).map(|fits| fits != *not),
            Test::Status { not, any } => self.status(*any).map(|fits| fits != *not),
            Test::Type { side, not, kinds } => self.kind(*side, *kinds).map(|fits| fits != *not),
            Test::Bytes {
                operand,
                not,
                value,
            } => {
                let bytes = self.bytes(operand);
                same(&bytes, value).map(|fits| fits != *not)
            }
            Test::Order { operand, not, ends } => {
                let bytes: Option<Vec<u8>> = self.bytes(operand).into_iter().collect();
                let bytes = bytes?;
                let [low, high] = &**ends;
                let fits = **low <= *bytes && *bytes <= **high;
                Some(fits != *not)
            }
            Test::InSet { .. } | Test::Unknown(_) => None,
        }
    }

    fn every(&self, fits: impl Fn(SocketAddr) -> bool) -> Option<bool> {
        let mut all = self.destinations.iter().map(|d| fits(*d));
        let first = all.next()?;
        (!self.open && all.all(|one| one == first)).then_some(first)
    }

    fn address(&self, side: Side, fits: impl Fn(IpAddr) -> bool) -> Option<bool> {
        match side {
            Side::Source if self.any_client => None,
            Side::Source => Some(fits(self.client)),
            Side::Destination => self.every(|d| fits(d.ip())),
            Side::Either => None,
        }
    }

    fn port(&self, side: Side, fits: impl Fn(u16) -> bool) -> Option<bool> {
        let source = || self.client_port.map(&fits);
        let destination = || self.every(|d| fits(d.port()));
        match side {
            Side::Source => source(),
            Side::Destination => destination(),
            Side::Either => match (source(), destination()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }

    fn marked(&self, mask: u32, value: u32) -> Option<bool> {
        let (known, bits) = self.mark;
        if (bits ^ value) & mask & known != 0 || value & !mask != 0 {
            return Some(false);
        }
        (mask & !known == 0).then_some(true)
    }

    fn stated(&self, any: u16) -> Option<bool> {
        if any & state::SNAT != 0 {
            return None;
        }
        let plain = self.state & any != 0;
        match self.translated {
            _ if plain => Some(true),
            Some(true) => Some(any & state::DNAT != 0),
            None if any & state::DNAT != 0 => None,
            _ => Some(false),
        }
    }

    fn status(&self, any: u32) -> Option<bool> {
        match self.translated {
            Some(true) if any & DESTINATION_NAT != 0 => Some(true),
            None if any & DESTINATION_NAT != 0 => None,
            _ if any & SOURCE_NAT != 0 || any & !DECIDED != 0 => None,
            _ => Some(false),
        }
    }

    fn kind(&self, side: Side, kinds: u16) -> Option<bool> {
        let local = self.address(side, |a| self.is_own(a))?;
        match (local, kinds & LOCAL != 0, kinds & UNICAST != 0) {
            (true, fits, _) => Some(fits),
            (false, _, true) => Some(true),
            // Blackholes, broadcasts, and such.
            (false, ..) if kinds & !LOCAL != 0 => None,
            (false, ..) if self.own.is_none() => None,
            (false, ..) => Some(false),
        }
    }

    pub fn is_own(&self, address: IpAddr) -> bool {
        address == self.dialled
            || address.is_loopback()
            || self.own.is_some_and(|own| own.contains(&address))
    }
}

/// Whether an interface has a name, or one that begins so.
pub fn named(of: &Interface, name: &str, prefix: bool) -> Option<bool> {
    match of {
        // What a tap has seen came from outside, by whichever interface.
        Interface::Open if name == "lo" && !prefix => Some(false),
        Interface::Open => None,
        Interface::Missing => Some(name.is_empty()),
        Interface::Named(is) if prefix => Some(is.starts_with(name)),
        Interface::Named(is) => Some(is == name),
    }
}

fn flags(mask: u8, value: u8) -> Option<bool> {
    if (SYN ^ value) & mask & !ECN != 0 || value & !mask != 0 {
        return Some(false);
    }
    (mask & ECN == 0).then_some(true)
}

/// Whether bytes begin so.
pub fn same(bytes: &[Option<u8>], value: &[u8]) -> Option<bool> {
    let mut open = bytes.len() < value.len();
    for (byte, value) in bytes.iter().zip(value) {
        match byte {
            Some(byte) if byte != value => return Some(false),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_comes_in_by_loopback() {
        assert_eq!(named(&Interface::Open, "lo", false), Some(false));
        assert_eq!(named(&Interface::Open, "lo", true), None);
        assert_eq!(named(&Interface::Open, "eth0", false), None);
    }
}
