//! What NAT is told to do.

use super::Reader;
use crate::evidence::{
    netlink::Attributes,
    rules::{
        nft::{IPV6, number},
        table::{Field, Op, Target, Verdict},
        xt,
    },
};

impl Reader<'_> {
    pub(super) fn nat(&mut self, kind: &str, of: Attributes<'_>) -> Option<()> {
        let target = match (kind, number(of, 1)) {
            ("masq", _) | ("nat", Some(0)) => {
                self.push(Op::Verdict(Verdict::Accept));
                return Some(());
            }
            ("redir", port) => self.to(None, port, None),
            _ => {
                let (address, last) = (number(of, 3), number(of, 4));
                let (port, port_last) = (number(of, 5), number(of, 6));
                let ranges = last.is_some_and(|last| Some(last) != address)
                    || port_last.is_some_and(|last| Some(last) != port);
                if ranges {
                    None
                } else {
                    self.to(address, port, number(of, 2))
                }
            }
        };
        let target = target.unwrap_or(Target::Unknown);
        self.push(Op::Verdict(Verdict::Dnat(target)));
        Some(())
    }

    /// `None`: not understood.
    fn to(&self, address: Option<u32>, port: Option<u32>, family: Option<u32>) -> Option<Target> {
        let held = |register: Option<u32>| self.load(register).map(|operand| operand.field);
        let port = match (port, held(port)) {
            (None, _) => None,
            (Some(_), Some(Field::Constant(bytes))) => {
                Some(u16::from_be_bytes(*bytes.first_chunk()?))
            }
            // It lies behind the address in what a map held.
            (Some(_), _) => match held(address) {
                Some(Field::Looked(lookup)) => return Some(Target::Map(lookup)),
                _ => return None,
            },
        };
        let Some(register) = address else {
            return Some(Target::To {
                address: None,
                port,
            });
        };
        match held(Some(register))? {
            Field::Constant(bytes) => {
                let v6 = family == Some(IPV6.into());
                let address = Some(xt::address(&bytes, v6)?);
                Some(Target::To { address, port })
            }
            Field::Looked(lookup) if port.is_none() => Some(Target::Map(lookup)),
            _ => None,
        }
    }
}
