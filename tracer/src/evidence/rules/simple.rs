//! Comparisons of bytes, as nftables writes them, put as the tests that they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::table::{Field, Operand, Side, Test, state};

/// Offset of the flags in a TCP header.
const FLAGS: u8 = 13;
const UNTRACKED: u32 = 1 << 6;

/// `operand == value`, or `!=`.
pub fn equal(operand: Operand, not: bool, value: &[u8]) -> Test {
    named(&operand, not, value).unwrap_or_else(|| Test::Bytes {
        operand: operand.into(),
        not,
        value: value.into(),
    })
}

/// `low <= operand <= high`, or not.
pub fn between(operand: Operand, not: bool, low: &[u8], high: &[u8]) -> Test {
    let plain = operand.altered.is_none() && !operand.swapped;
    if plain && let Some(side) = port(&operand.field) {
        let ends = (port_of(low), port_of(high));
        if let (Some(low), Some(high)) = ends {
            return Test::Ports {
                side,
                not,
                ranges: Box::new([(low, high)]),
            };
        }
    }
    if plain && let Some((side, v6)) = address(&operand.field, low.len()) {
        let end = |bytes: &[u8]| super::xt::address(bytes, v6);
        if let (Some(low), Some(high)) = (end(low), end(high)) {
            return Test::Between {
                side,
                not,
                ends: Box::new((low, high)),
            };
        }
    }
    Test::Order {
        operand: operand.into(),
        not,
        ends: Box::new([low.into(), high.into()]),
    }
}

fn port_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn port(field: &Field) -> Option<Side> {
    match field {
        Field::Transport {
            offset: 0,
            length: 2,
        } => Some(Side::Source),
        Field::Transport {
            offset: 2,
            length: 2,
        } => Some(Side::Destination),
        _ => None,
    }
}

/// Which address, or the beginning of which, and whether it is one of IPv6.
fn address(field: &Field, bytes: usize) -> Option<(Side, bool)> {
    let Field::Network { offset, length } = *field else {
        return None;
    };
    let (side, v6) = match offset {
        12 => (Side::Source, false),
        16 => (Side::Destination, false),
        8 => (Side::Source, true),
        24 => (Side::Destination, true),
        _ => return None,
    };
    let most = if v6 { 16 } else { 4 };
    (length <= most && bytes == usize::from(length)).then_some((side, v6))
}

fn named(operand: &Operand, not: bool, value: &[u8]) -> Option<Test> {
    let masked = operand.altered.as_deref();
    if operand.swapped || masked.is_some_and(|(_, xor)| xor.iter().any(|b| *b != 0)) {
        return None;
    }
    let mask = masked.map(|(mask, _)| mask.as_slice());
    if let Some((side, v6)) = address(&operand.field, value.len()) {
        let net = network(v6, value, mask)?;
        return Some(Test::Address { side, not, net });
    }
    if let (Some(side), None) = (port(&operand.field), mask) {
        let port = port_of(value)?;
        return Some(Test::Ports {
            side,
            not,
            ranges: Box::new([(port, port)]),
        });
    }
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
    let all = |mask: Option<&[u8]>| mask.map_or(Some(u32::MAX), word);
    match operand.field {
        Field::Protocol
        | Field::Network {
            offset: 9,
            length: 1,
        } if mask.is_none() => {
            let number = *value.first()?;
            Some(Test::Protocol { not, number })
        }
        Field::InterfaceIn | Field::InterfaceOut if mask.is_none() => Some(Test::Interface {
            out: operand.field == Field::InterfaceOut,
            not,
            prefix: !value.contains(&0) && value.len() < 16,
            name: super::xt::text(value).into(),
        }),
        Field::Transport {
            offset: FLAGS,
            length: 1,
        } => {
            let mask = mask.map_or(Some(u8::MAX), |mask| mask.first().copied())?;
            let value = *value.first()?;
            Some(Test::Flags { not, mask, value })
        }
        Field::Mark => {
            let (mask, value) = (all(mask)?, word(value)?);
            Some(Test::Mark { not, mask, value })
        }
        Field::State => {
            let (not, bits) = any(not, mask, value)?;
            let untracked = if bits & UNTRACKED == 0 {
                0
            } else {
                state::UNTRACKED
            };
            let any = (bits & 0xf) as u16 | untracked;
            Some(Test::State { not, any })
        }
        Field::Status => {
            let (not, any) = any(not, mask, value)?;
            Some(Test::Status { not, any })
        }
        Field::AddressType(side) if mask.is_none() => {
            let kinds = 1_u16.checked_shl(word(value)?)?;
            Some(Test::Type { side, not, kinds })
        }
        _ => None,
    }
}

/// `bits & mask != 0` is any of them; so is `bits == one`.
fn any(not: bool, mask: Option<&[u8]>, value: &[u8]) -> Option<(bool, u32)> {
    let value = u32::from_ne_bytes(value.try_into().ok()?);
    match mask {
        Some(mask) if value == 0 => Some((!not, u32::from_ne_bytes(mask.try_into().ok()?))),
        None if value != 0 => Some((not, value)),
        _ => None,
    }
}

fn network(v6: bool, value: &[u8], mask: Option<&[u8]>) -> Option<IpNet> {
    let whole = vec![0xff; value.len()];
    let mask = mask.unwrap_or(&whole);
    Some(if v6 {
        let fill = |bytes: &[u8]| -> Option<IpAddr> {
            let mut all = [0; 16];
            all.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(Ipv6Addr::from(all).into())
        };
        super::xt::net(fill(value)?, fill(mask)?)?
    } else {
        let fill = |bytes: &[u8]| -> Option<IpAddr> {
            let mut all = [0; 4];
            all.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(Ipv4Addr::from(all).into())
        };
        super::xt::net(fill(value)?, fill(mask)?)?
    })
}
