//! Where the kernel programs find the struct members they read.

mod conntrack;
mod prototypes;
mod table;

use anyhow::{Context as _, Result, bail};

use self::{
    prototypes::PROTOTYPES,
    table::{FIELDS, Field, STATE, Shape},
};
use super::btf::{Btf, Member, kind};
use crate::snapshot::SOCKET_STATE;

/// What a program takes an absent member's offset for; also its initial value.
const ABSENT: u16 = 0xffff;

/// The programs' globals, and which hooks this kernel cannot have.
#[derive(Debug)]
pub struct Offsets {
    /// Global and offset in bytes.
    pub values: Vec<(&'static str, u16)>,
    /// Global and 1 where a tracepoint has its newer third argument.
    pub arguments: Vec<(&'static str, u8)>,
    /// Hook and the reason why it is disabled.
    disabled: Vec<(&'static str, String)>,
}

impl Offsets {
    /// Resolves all members.
    ///
    /// # Errors
    /// Names the `struct.member` that a required hook misses.
    pub fn resolve(btf: &Btf) -> Result<Self> {
        let mut found = Self {
            values: Vec::new(),
            arguments: Vec::new(),
            disabled: Vec::new(),
        };
        for field in FIELDS {
            let offset = match field.resolve(btf) {
                Ok(offset) => offset,
                Err(error) if field.hooks == STATE => return Err(error),
                Err(error) => {
                    let why = format!("{error:#}");
                    found
                        .disabled
                        .extend(field.hooks.iter().map(|hook| (*hook, why.clone())));
                    ABSENT
                }
            };
            found
                .values
                .extend(field.global.map(|global| (global, offset)));
        }
        found.conntrack(btf);
        found.values.push(("OTHERHOST", otherhost(btf)?));
        found.prototypes(btf)?;
        Ok(found)
    }

    /// Why a hook is disabled, if it is.
    pub fn disabled(&self, hook: &str) -> Option<&str> {
        self.disabled
            .iter()
            .find(|(name, _)| *name == hook)
            .map(|(_, why)| why.as_str())
    }

    /// conntrack's structs, all or none: a kernel may lack it.
    fn conntrack(&mut self, btf: &Btf) {
        let offsets = conntrack::resolve(btf).unwrap_or_else(|error| {
            self.disabled.push(("net_dev_queue", format!("{error:#}")));
            [ABSENT; 3]
        });
        self.values
            .extend(conntrack::GLOBALS.into_iter().zip(offsets));
    }

    /// What the hooked tracepoints and functions take.
    fn prototypes(&mut self, btf: &Btf) -> Result<()> {
        for prototype in PROTOTYPES {
            let found = prototype.find(btf)?;
            self.arguments.extend(prototype.has_newest(found.as_ref()));
            match prototype.check(found.as_ref()) {
                Err(why) if prototype.hook == SOCKET_STATE => bail!("{SOCKET_STATE}: {why}"),
                Err(why) => self.disabled.push((prototype.hook, why)),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Number of the reason for which copies of others' packets are dropped; before 5.17
/// there are no reasons, and before 5.19 not this one.
fn otherhost(btf: &Btf) -> Result<u16> {
    let reasons = btf.enumerators("skb_drop_reason")?.unwrap_or_default();
    let found = reasons
        .iter()
        .find(|(_, name)| name == "SKB_DROP_REASON_OTHERHOST");
    let number = found.and_then(|(number, _)| u16::try_from(*number).ok());
    Ok(number.unwrap_or(ABSENT))
}

impl Field {
    /// The offset in bytes.
    fn resolve(&self, btf: &Btf) -> Result<u16> {
        let Self {
            name, path, shape, ..
        } = self;
        let path = format!("{name}.{path}");
        let member = btf.member(name, self.path).with_context(|| path.clone())?;
        let Some(member) = member else {
            bail!("{path}: this kernel has no such member")
        };
        if !shape.fits(member) {
            bail!(
                "{path}: expected {shape}, found kind {} of {} bytes at bit {}",
                member.kind,
                member.size,
                member.bit_offset
            );
        }
        u16::try_from(member.bit_offset / 8)
            .ok()
            .filter(|offset| *offset < ABSENT)
            .with_context(|| format!("{path}: stands too far back"))
    }
}

impl Shape {
    fn fits(self, member: Member) -> bool {
        let shape = match self {
            Self::LowBits => {
                return member.kind == kind::INT
                    && member.bitfield
                    && member.bit_offset.is_multiple_of(8);
            }
            Self::Int(size) => member.kind == kind::INT && member.size == size,
            Self::Struct(size) => member.kind == kind::STRUCT && member.size == size,
            Self::Pointer => member.kind == kind::PTR,
            Self::Array => member.kind == kind::ARRAY,
            Self::Head => member.kind == kind::STRUCT && member.bit_offset == 0,
            Self::IntAt(size, at) => Self::Int(size).fits(member) && member.bit_offset == at * 8,
        };
        shape && !member.bitfield
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(size) => write!(f, "an integer of {size} bytes"),
            Self::Struct(size) => write!(f, "a struct of {size} bytes"),
            Self::Pointer => write!(f, "a pointer"),
            Self::Array => write!(f, "an array"),
            Self::Head => write!(f, "a struct at the beginning"),
            Self::LowBits => write!(f, "the lowest bits of a byte"),
            Self::IntAt(size, at) => write!(f, "an integer of {size} bytes at byte {at}"),
        }
    }
}

#[cfg(test)]
mod tests;
