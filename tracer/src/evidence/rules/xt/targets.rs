//! Targets.

use super::{Extension, address, u16_at, u32_at};
use crate::evidence::rules::{
    Action,
    table::{Op, Target, Verdict},
};

/// What a target does.
pub fn target(of: Extension<'_>, ops: &mut Vec<Op>) {
    let unknown = || Op::Verdict(Verdict::Unknown(format!("-j {}", of.name).into()));
    match of.name {
        "LOG" | "NFLOG" | "ULOG" | "TRACE" | "TCPMSS" | "TOS" | "DSCP" | "ECN" | "TTL" | "HL"
        | "CLASSIFY" | "CHECKSUM" | "SECMARK" | "CONNSECMARK" | "AUDIT" | "IDLETIMER" | "LED"
        | "RATEEST" | "TEE" | "TCPOPTSTRIP" | "SET" => {}
        "MARK" | "CONNMARK" | "HMARK" => ops.push(mark(of).unwrap_or(Op::MarkLost(u32::MAX))),
        "NOTRACK" => ops.push(Op::NoTrack),
        "CT" => {
            if u16_at(of.data, 0).is_some_and(|flags| flags & 1 != 0) {
                ops.push(Op::NoTrack);
            }
        }
        "REJECT" => ops.push(reject(of).map_or_else(unknown, |a| Op::Verdict(Verdict::Stop(a)))),
        "NFQUEUE" | "QUEUE" => ops.push(Op::Verdict(Verdict::Queue)),
        "MASQUERADE" | "SNAT" => ops.push(Op::Verdict(Verdict::Accept)),
        "DNAT" | "REDIRECT" => {
            let target = nat(of).unwrap_or(Target::Unknown);
            ops.push(Op::Verdict(Verdict::Dnat(target)));
        }
        "NETMAP" | "CLUSTERIP" => ops.push(Op::Verdict(Verdict::Dnat(Target::Unknown))),
        _ => ops.push(unknown()),
    }
}

/// `struct xt_mark_tginfo2`; of CONNMARK only what leaves the packet's mark alone.
fn mark(of: Extension<'_>) -> Option<Op> {
    match (of.name, of.revision) {
        ("MARK", 2) => Some(Op::Mark {
            xor: u32_at(of.data, 0)?,
            keep: !u32_at(of.data, 4)?,
        }),
        ("CONNMARK", 1) if *of.data.get(12)? != 2 => Some(Op::MarkLost(0)),
        ("CONNMARK", 2) if *of.data.get(14)? != 2 => Some(Op::MarkLost(0)),
        ("CONNMARK", 1 | 2) => Some(Op::MarkLost(u32_at(of.data, 8)?)),
        _ => None,
    }
}

/// `enum ipt_reject_with`, `enum ip6t_reject_with`
fn reject(of: Extension<'_>) -> Option<Action> {
    let code = match (of.v6, u32_at(of.data, 0)?) {
        (false, 7) | (true, 6) => return Some(Action::RejectReset),
        (false, with @ 0..=3) => with as u8,
        (false, 5) => 9,
        (false, 6) => 10,
        (false, 8) => 13,
        (true, with @ 0..=4) => with as u8,
        (true, 7) => 5,
        (true, 8) => 6,
        _ => return None,
    };
    Some(Action::RejectIcmp { code })
}

/// `struct nf_nat_ipv4_multi_range_compat` (revision 0 of IPv4), else
/// `struct nf_nat_range` and `…2`.
fn nat(of: Extension<'_>) -> Option<Target> {
    let old = !of.v6 && of.revision == 0;
    let (flags, first, last, port) = if old { (4, 8, 12, 16) } else { (0, 4, 20, 36) };
    let flags = u32_at(of.data, flags)?;
    let end = |at| address(of.data.get(at..)?, of.v6);
    let (first, last) = (end(first)?, end(last)?);
    let port = of
        .data
        .get(port..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))?;
    let port_last = of.data.get(if old { 18 } else { 38 }..)?.first_chunk();
    let port_last = port_last.map(|b| u16::from_be_bytes(*b))?;
    let (maps, ports) = (flags & 1 != 0 && of.name == "DNAT", flags & 2 != 0);
    // Ranges leave open which is chosen.
    if maps && first != last || ports && port != port_last {
        return None;
    }
    Some(Target::To {
        address: maps.then_some(first),
        port: ports.then_some(port),
    })
}
