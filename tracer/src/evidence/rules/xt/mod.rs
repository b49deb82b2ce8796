//! Matches and targets of x_tables: in iptables-legacy's rules, and in those of
//! iptables-nft, which nftables carries along.

mod targets;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::table::{Op, Side, Test, state};

pub use targets::target;

/// `struct xt_conntrack_mtinfo2`, `…3`: what is looked at.
const CONNTRACK_STATE: u16 = 1;
const CONNTRACK_STATUS: u16 = 1 << 6;

/// A match or a target.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    pub name: &'a str,
    pub revision: u8,
    pub data: &'a [u8],
    pub v6: bool,
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_ne_bytes(*b))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_ne_bytes(*b))
}

/// Text up to the first NUL, printable.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Four or 16 bytes at the start.
pub fn address(bytes: &[u8], v6: bool) -> Option<IpAddr> {
    Some(if v6 {
        Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()
    } else {
        Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
    })
}

/// A network of an address and a mask; `None`: the mask is no prefix.
pub fn net(address: IpAddr, mask: IpAddr) -> Option<IpNet> {
    IpNet::with_netmask(address, mask).ok()
}

/// What a match asks: nothing (a comment), or tests. `comment` gets what it says.
pub fn matched(of: Extension<'_>, ops: &mut Vec<Op>, comment: &mut Option<String>) {
    if of.name == "comment" {
        *comment = Some(text(of.data));
        return;
    }
    let before = ops.len();
    if tests(of, ops).is_none() {
        ops.truncate(before);
        ops.push(unknown(of.name));
    }
}

fn unknown(name: &str) -> Op {
    Op::Test(Test::Unknown(format!("-m {name}").into()))
}

/// `None`: not understood.
fn tests(of: Extension<'_>, ops: &mut Vec<Op>) -> Option<()> {
    let data = of.data;
    let mut push = |test| ops.push(Op::Test(test));
    match (of.name, of.revision) {
        ("tcp", 0) => return tcp(data, ops),
        ("udp" | "udplite" | "sctp" | "dccp" | "icmp" | "icmp6" | "esp" | "ah", _) => {
            // They take packets of their protocol only.
            push(Test::Protocol {
                not: false,
                number: 0,
            });
        }
        ("multiport", 1) => push(multiport(data)?),
        ("mark", 1) => push(Test::Mark {
            not: *data.get(8)? != 0,
            value: u32_at(data, 0)?,
            mask: u32_at(data, 4)?,
        }),
        ("state", 0) => {
            let mask = u32_at(data, 0)?;
            let untracked = if mask & 1 << 6 == 0 {
                0
            } else {
                state::UNTRACKED
            };
            let any = (mask & 0xf) as u16 | untracked;
            push(Test::State { not: false, any });
        }
        ("conntrack", 1..=3) => return conntrack(of, ops),
        ("addrtype", 1) => return addrtype(data, ops),
        ("iprange", 1) => return iprange(of, ops),
        ("pkttype", 0) => {
            // A SYN for an own address comes as PACKET_HOST (0).
            let (kind, not) = (u32_at(data, 0)?, u32_at(data, 4)? != 0);
            if (kind == 0) == not {
                push(Test::Protocol {
                    not: false,
                    number: 0,
                });
            }
        }
        _ => return None,
    }
    Some(())
}

/// `struct xt_tcp`
fn tcp(data: &[u8], ops: &mut Vec<Op>) -> Option<()> {
    let invert = *data.get(11)?;
    for (side, at, bit) in [(Side::Source, 0, 1), (Side::Destination, 4, 2)] {
        let range = (u16_at(data, at)?, u16_at(data, at + 2)?);
        let not = invert & bit != 0;
        if range != (0, u16::MAX) || not {
            ops.push(Op::Test(Test::Ports {
                side,
                not,
                ranges: Box::new([range]),
            }));
        }
    }
    let (option, mask, value) = (*data.get(8)?, *data.get(9)?, *data.get(10)?);
    let not = invert & 4 != 0;
    if mask != 0 || not {
        ops.push(Op::Test(Test::Flags { not, mask, value }));
    }
    if option != 0 {
        ops.push(Op::Test(Test::Unknown("--tcp-option".into())));
    }
    Some(())
}

/// `struct xt_multiport_v1`
fn multiport(data: &[u8]) -> Option<Test> {
    let side = match data.first()? {
        0 => Side::Source,
        1 => Side::Destination,
        2 => Side::Either,
        _ => return None,
    };
    let count = usize::from(*data.get(1)?).min(15);
    let flags = data.get(32..47)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < count {
        let first = u16_at(data, 2 + 2 * at)?;
        let mut last = first;
        if *flags.get(at)? != 0 {
            at += 1;
            last = u16_at(data, 2 + 2 * at)?;
        }
        ranges.push((first, last));
        at += 1;
    }
    let not = *data.get(47)? != 0;
    Some(Test::Ports {
        side,
        not,
        ranges: ranges.into(),
    })
}

/// `struct xt_conntrack_mtinfo1`, `…2`, `…3`
fn conntrack(of: Extension<'_>, ops: &mut Vec<Op>) -> Option<()> {
    let at = 8 * 16 + 8 + 2 + 4 * 2;
    let (what, invert) = (u16_at(of.data, at)?, u16_at(of.data, at + 2)?);
    let (state, status) = if of.revision == 1 {
        let byte = |at| of.data.get(at).copied().map(u16::from);
        (byte(at + 4)?, byte(at + 5)?)
    } else {
        (u16_at(of.data, at + 4)?, u16_at(of.data, at + 6)?)
    };
    if what & CONNTRACK_STATE != 0 {
        let not = invert & CONNTRACK_STATE != 0;
        ops.push(Op::Test(Test::State { not, any: state }));
    }
    if what & CONNTRACK_STATUS != 0 {
        let not = invert & CONNTRACK_STATUS != 0;
        let any = status.into();
        ops.push(Op::Test(Test::Status { not, any }));
    }
    // XT_CONNTRACK_STATE_ALIAS says only how it was written.
    if what & !(CONNTRACK_STATE | CONNTRACK_STATUS | 1 << 13) != 0 {
        ops.push(unknown("conntrack"));
    }
    Some(())
}

/// `struct xt_addrtype_info_v1`
fn addrtype(data: &[u8], ops: &mut Vec<Op>) -> Option<()> {
    let flags = u32_at(data, 4)?;
    for (side, at, bit) in [(Side::Source, 0, 1), (Side::Destination, 2, 2)] {
        let kinds = u16_at(data, at)?;
        if kinds != 0 {
            let not = flags & bit != 0;
            ops.push(Op::Test(Test::Type { side, not, kinds }));
        }
    }
    // Local at one interface is more than local.
    if flags & 0xc != 0 {
        ops.push(Op::Test(Test::Unknown("--limit-iface".into())));
    }
    Some(())
}

/// `struct xt_iprange_mtinfo`
fn iprange(of: Extension<'_>, ops: &mut Vec<Op>) -> Option<()> {
    let flags = *of.data.get(64)?;
    for (side, at, bit) in [(Side::Source, 0, 1), (Side::Destination, 32, 2)] {
        if flags & bit != 0 {
            let first = address(of.data.get(at..)?, of.v6)?;
            let last = address(of.data.get(at + 16..)?, of.v6)?;
            let not = flags & bit << 4 != 0;
            let ends = Box::new((first, last));
            ops.push(Op::Test(Test::Between { side, not, ends }));
        }
    }
    Some(())
}
