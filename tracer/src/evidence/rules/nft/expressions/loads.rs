//! What expressions load into registers.

use super::{Reader, plain};
use crate::evidence::{
    netlink::Attributes,
    rules::{
        nft::{nested, number},
        table::{Field, Op, Operand, Side},
    },
};

impl Reader<'_> {
    pub(super) fn payload(&mut self, of: Attributes<'_>) -> Option<()> {
        let register = number(of, 1);
        // Without one it writes into the packet.
        register?;
        let offset = u8::try_from(number(of, 3)?).ok();
        let length = u8::try_from(number(of, 4)?).ok().filter(|n| *n <= 64)?;
        let field = match (number(of, 2)?, offset) {
            (1, Some(offset)) => Field::Network { offset, length },
            (2, Some(offset)) => Field::Transport { offset, length },
            _ => Field::Other("payload"),
        };
        self.store(register, plain(field, length))
    }

    pub(super) fn meta(&mut self, of: Attributes<'_>) -> Option<()> {
        const MARK: u32 = 3;
        let key = number(of, 2)?;
        if let Some(source) = number(of, 3) {
            if key == MARK {
                let op = self.load(Some(source)).and_then(|source| mark(&source));
                self.push(op.unwrap_or(Op::MarkLost(u32::MAX)));
            }
            return Some(());
        }
        let operand = match key {
            1 => plain(Field::EtherType, 2),
            MARK => plain(Field::Mark, 4),
            6 => plain(Field::InterfaceIn, 16),
            7 => plain(Field::InterfaceOut, 16),
            15 => plain(Field::NfProto, 1),
            16 => plain(Field::Protocol, 1),
            _ => plain(Field::Other("meta"), 4),
        };
        self.store(number(of, 1), operand)
    }

    pub(super) fn ct(&mut self, of: Attributes<'_>) -> Option<()> {
        if number(of, 4).is_some() {
            // It sets the connection's mark, zone or such.
            return Some(());
        }
        let operand = match number(of, 2)? {
            0 => plain(Field::State, 4),
            2 => plain(Field::Status, 4),
            _ => plain(Field::Other("ct"), 4),
        };
        self.store(number(of, 1), operand)
    }

    pub(super) fn fib(&mut self, of: Attributes<'_>) -> Option<()> {
        const TYPE: u32 = 3;
        let field = match (number(of, 2)?, number(of, 3)?) {
            (TYPE, 1) => Field::AddressType(Side::Source),
            (TYPE, 2) => Field::AddressType(Side::Destination),
            _ => Field::Other("fib"),
        };
        self.store(number(of, 1), plain(field, 4))
    }

    pub(super) fn bitwise(&mut self, of: Attributes<'_>) -> Option<()> {
        let (source, to) = (self.load(number(of, 1)), number(of, 2));
        let length = u8::try_from(number(of, 3)?).ok().filter(|n| *n <= 64)?;
        let masks = (nested(of, 4).find(1), nested(of, 5).find(1));
        let operand = match (source, masks) {
            (Some(source), (Some(mask), Some(xor)))
                if number(of, 6).unwrap_or_default() == 0
                    && source.length == length
                    && mask.len() == xor.len()
                    && mask.len() == usize::from(length) =>
            {
                altered(source, mask, xor)
            }
            _ => plain(Field::Other("bitwise"), length),
        };
        self.store(to, operand)
    }

    pub(super) fn byteorder(&mut self, of: Attributes<'_>) -> Option<()> {
        let source = self.load(number(of, 1));
        let (length, size) = (u8::try_from(number(of, 4)?).ok()?, number(of, 5)?);
        let operand = match source {
            Some(mut source) if source.length == length && u32::from(length) == size => {
                source.swapped = !source.swapped;
                source
            }
            _ => plain(Field::Other("byteorder"), length.min(64)),
        };
        self.store(number(of, 2), operand)
    }
}

/// Of the bytes as they are now, so that what was done before is kept.
fn altered(mut source: Operand, mask: &[u8], xor: &[u8]) -> Operand {
    let (before, flips) = source.altered.take().map_or_else(
        || (vec![0xff; mask.len()], vec![0; mask.len()]),
        |before| *before,
    );
    let and = |bytes: Vec<u8>| -> Vec<u8> { bytes.iter().zip(mask).map(|(b, m)| b & m).collect() };
    let flips = and(flips).iter().zip(xor).map(|(b, x)| b ^ x).collect();
    source.altered = Some(Box::new((and(before), flips)));
    source
}

/// What is written to the mark.
fn mark(source: &Operand) -> Option<Op> {
    let host = |bytes: &[u8]| bytes.first_chunk().map(|b| u32::from_ne_bytes(*b));
    match (&source.field, &source.altered) {
        (Field::Constant(bytes), None) => Some(Op::Mark {
            keep: 0,
            xor: host(bytes)?,
        }),
        (Field::Mark, Some(altered)) if !source.swapped => Some(Op::Mark {
            keep: host(&altered.0)?,
            xor: host(&altered.1)?,
        }),
        _ => None,
    }
}
