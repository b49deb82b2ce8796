//! Expressions of a rule: what they load into registers is followed, so that what
//! compares or looks up says what of.

mod loads;
mod nat;

use super::{Names, be64, name, nested, number};
use crate::evidence::{
    netlink::Attributes,
    rules::{
        Action, Family, simple,
        table::{Field, Lookup, Op, Operand, Test, Verdict},
        xt::{self, Extension},
    },
};

/// Registers of four bytes.
const SLOTS: usize = 20;
/// Most operands of one key.
const FIELDS: usize = 16;

/// What a rule says.
#[derive(Default)]
pub(super) struct Written {
    pub ops: Vec<Op>,
    pub packets: Option<u64>,
    pub comment: Option<String>,
}

/// Reads a list of expressions.
pub(super) fn read(list: Attributes<'_>, names: &Names<'_>, family: Family) -> Written {
    let mut reader = Reader {
        written: Written::default(),
        registers: [const { None }; SLOTS],
        names,
        family,
    };
    for (_, one) in list {
        let one = Attributes(one);
        let Some(kind) = one.find(1).and_then(name) else {
            continue;
        };
        if reader.expression(kind, nested(one, 2)).is_none() {
            reader.unknown(kind);
        }
    }
    reader.written
}

struct Reader<'a> {
    written: Written,
    registers: [Option<Operand>; SLOTS],
    names: &'a Names<'a>,
    family: Family,
}

/// The four-byte register at which a register begins.
fn slot(register: u32) -> Option<usize> {
    let slot = match register {
        1..=4 => (register - 1) * 4,
        8..=27 => register - 8,
        _ => return None,
    };
    usize::try_from(slot).ok().filter(|slot| *slot < SLOTS)
}

fn plain(field: Field, length: u8) -> Operand {
    Operand {
        field,
        length,
        altered: None,
        swapped: false,
    }
}

impl Reader<'_> {
    fn push(&mut self, op: Op) {
        self.written.ops.push(op);
    }

    fn unknown(&mut self, kind: &str) {
        self.push(Op::Test(Test::Unknown(xt::text(kind.as_bytes()).into())));
    }

    fn store(&mut self, register: Option<u32>, operand: Operand) -> Option<()> {
        let at = slot(register?)?;
        let length = usize::from(operand.length).div_ceil(4).max(1);
        for cell in self.registers.iter_mut().skip(at).take(length) {
            *cell = None;
        }
        *self.registers.get_mut(at)? = Some(operand);
        Some(())
    }

    fn load(&self, register: Option<u32>) -> Option<Operand> {
        self.registers.get(slot(register?)?)?.clone()
    }

    /// The operands that make a key of so many bytes.
    fn key(&self, register: Option<u32>, length: u32) -> Option<Vec<Operand>> {
        let (mut at, mut left) = (slot(register?)?, length);
        let mut key = Vec::new();
        while left > 0 && key.len() < FIELDS {
            let operand = self.registers.get(at)?.clone()?;
            let padded = u32::from(operand.length).next_multiple_of(4).max(4);
            at += padded as usize / 4;
            left = left.saturating_sub(padded);
            key.push(operand);
        }
        Some(key)
    }

    /// `None`: not understood, or it may end the rule.
    fn expression(&mut self, kind: &str, of: Attributes<'_>) -> Option<()> {
        match kind {
            "payload" => self.payload(of),
            "meta" => self.meta(of),
            "ct" => self.ct(of),
            "fib" => self.fib(of),
            "cmp" => self.compare(of),
            "range" => self.range(of),
            "bitwise" => self.bitwise(of),
            "byteorder" => self.byteorder(of),
            "immediate" => self.immediate(of),
            "lookup" => self.lookup(of),
            "match" | "target" => self.extension(kind, of),
            "nat" | "redir" | "masq" => self.nat(kind, of),
            "counter" => {
                self.written.packets = of.find(2).and_then(be64);
                Some(())
            }
            "reject" => {
                self.push(Op::Verdict(reject(of)?));
                Some(())
            }
            "queue" => {
                self.push(Op::Verdict(Verdict::Queue));
                Some(())
            }
            "notrack" => {
                self.push(Op::NoTrack);
                Some(())
            }
            "log" | "last" | "dup" | "flow_offload" => Some(()),
            // A counter with a name.
            "objref" if number(of, 1) == Some(1) => Some(()),
            "tproxy" | "synproxy" | "fwd" => {
                self.push(Op::Verdict(Verdict::Unknown(kind.into())));
                Some(())
            }
            "numgen" => self.store(number(of, 1), plain(Field::Other("numgen"), 4)),
            "hash" => self.store(number(of, 2), plain(Field::Other("hash"), 4)),
            "socket" => self.store(number(of, 2), plain(Field::Other("socket"), 4)),
            "rt" => self.store(number(of, 1), plain(Field::Other("rt"), 4)),
            "exthdr" => self.store(number(of, 1), plain(Field::Other("exthdr"), 4)),
            "osf" => self.store(number(of, 1), plain(Field::Other("osf"), 16)),
            _ => None,
        }
    }

    fn compare(&mut self, of: Attributes<'_>) -> Option<()> {
        let operand = self.load(number(of, 1))?;
        let value = nested(of, 3).find(1)?;
        let end = |fill: u8| vec![fill; value.len()];
        let (low, high, not) = match number(of, 2)? {
            op @ (0 | 1) => {
                self.push(Op::Test(simple::equal(operand, op == 1, value)));
                return Some(());
            }
            2 => (value.to_vec(), end(0xff), true),
            3 => (end(0), value.to_vec(), false),
            4 => (end(0), value.to_vec(), true),
            5 => (value.to_vec(), end(0xff), false),
            _ => return None,
        };
        self.push(Op::Test(simple::between(operand, not, &low, &high)));
        Some(())
    }

    fn range(&mut self, of: Attributes<'_>) -> Option<()> {
        let operand = self.load(number(of, 1))?;
        let (low, high) = (nested(of, 3).find(1)?, nested(of, 4).find(1)?);
        let not = number(of, 2)? == 1;
        self.push(Op::Test(simple::between(operand, not, low, high)));
        Some(())
    }

    fn immediate(&mut self, of: Attributes<'_>) -> Option<()> {
        let data = nested(of, 2);
        if let Some(verdict) = data.find(2) {
            if let Some(verdict) = self.names.verdict(Attributes(verdict)) {
                self.push(Op::Verdict(verdict));
            }
            return Some(());
        }
        let bytes = data.find(1).filter(|bytes| bytes.len() <= 64)?;
        let length = u8::try_from(bytes.len()).ok()?;
        self.store(number(of, 1), plain(Field::Constant(bytes.into()), length))
    }

    fn lookup(&mut self, of: Attributes<'_>) -> Option<()> {
        let set = self.names.set(of.find(1)?);
        let sets = &self.names.0.tables.sets;
        let known = set.and_then(|set| sets.get(set as usize));
        let key = known.and_then(|set| self.key(number(of, 2), set.key_length));
        let lookup = Box::new(Lookup {
            set: key.as_ref().and(set),
            key: key.unwrap_or_default(),
        });
        match number(of, 3) {
            None => {
                let not = number(of, 5).is_some_and(|flags| flags & 1 != 0);
                self.push(Op::Test(Test::InSet { lookup, not }));
                Some(())
            }
            Some(0) => {
                self.push(Op::Verdicts(lookup));
                Some(())
            }
            // Only NAT uses what it finds, and knows how long that is.
            to => self.store(to, plain(Field::Looked(lookup), 16)),
        }
    }

    fn extension(&mut self, kind: &str, of: Attributes<'_>) -> Option<()> {
        let extension = Extension {
            name: name(of.find(1)?)?,
            revision: u8::try_from(number(of, 2)?).ok()?,
            data: of.find(3)?,
            v6: self.family == Family::Ipv6,
        };
        let written = &mut self.written;
        if kind == "match" {
            xt::matched(extension, &mut written.ops, &mut written.comment);
        } else {
            xt::target(extension, &mut written.ops);
        }
        Some(())
    }
}

/// enum nft_reject_types
fn reject(of: Attributes<'_>) -> Option<Verdict> {
    let code = of.find(2).and_then(|code| code.first().copied());
    Some(match number(of, 1)? {
        0 => Verdict::Stop(Action::RejectIcmp { code: code? }),
        1 => Verdict::Stop(Action::RejectReset),
        2 => Verdict::RejectEither(code?),
        _ => return None,
    })
}
