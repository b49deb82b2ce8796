//! A reader of BPF type information (Documentation/bpf/btf.rst), as far as
//! struct members and tracepoint prototypes need it. It keeps the kernel's blob
//! and one offset per type, 6 MB in all; the general parsers build a tree three
//! times that size, and find types by name without kind.

mod enums;
mod prototypes;

use std::{borrow::Cow, ops::Range};

use anyhow::{Context as _, Result, bail, ensure};

pub use self::prototypes::{Argument, Prototype};

/// Kinds of types that matter here.
pub mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
/// Anonymous structs and unions are nested this deep at most.
const MAX_DEPTH: u32 = 8;

/// The types of one kernel.
#[derive(Debug)]
pub struct Btf {
    blob: Vec<u8>,
    /// Where in `blob` the names are.
    strings: Range<usize>,
    /// Where in `blob` each type begins; id 0 is `void` and has no place.
    starts: Vec<u32>,
}

/// One type: its common header.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    info: u32,
    /// Size in bytes or the id of another type, by kind.
    size_or_type: u32,
    /// Where the data behind the header begins.
    data: usize,
}

impl Type {
    // Bits 16 to 23 and 29, 30 were unused and zero before the fields grew.
    fn kind(self) -> u32 {
        self.info >> 24 & 0x7f
    }

    fn len(self) -> usize {
        (self.info & 0x00ff_ffff) as usize
    }

    /// Members carry a width in bits.
    fn has_widths(self) -> bool {
        self.info >> 31 != 0
    }

    /// Bytes behind the header.
    fn data_len(self) -> Option<usize> {
        let (each, once) = match self.kind() {
            1 | 14 | 17 => (0, 4),
            2 | 7..=12 | 16 | 18 => (0, 0),
            3 => (0, 12),
            4 | 5 | 15 | 19 => (12, 0),
            6 | 13 => (8, 0),
            _ => return None,
        };
        Some(self.len() * each + once)
    }
}

/// A struct's member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset in bits.
    pub bit_offset: u32,
    /// True when it is not made of whole bytes.
    pub bitfield: bool,
    /// Kind of its type, without typedefs and qualifiers.
    pub kind: u32,
    /// Size of its type in bytes; 0 when it has none.
    pub size: u32,
    type_id: u32,
}

impl Btf {
    /// Takes a kernel's BTF.
    ///
    /// # Errors
    /// When it is cut short, of another byte order, or has an unknown kind.
    pub fn parse<'a>(blob: impl Into<Cow<'a, [u8]>>) -> Result<Self> {
        let blob = blob.into().into_owned();
        let magic: [u8; 2] = bytes(&blob, 0)?;
        ensure!(
            u16::from_ne_bytes(magic) == MAGIC,
            "not BTF of this byte order"
        );
        let header = word(&blob, 4)? as usize;
        let section = |at: usize| -> Result<Range<usize>> {
            let start = header + word(&blob, at)? as usize;
            let end = start + word(&blob, at + 4)? as usize;
            ensure!(end <= blob.len(), "a section is cut short");
            Ok(start..end)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut btf = Self {
            blob,
            strings,
            starts: vec![0],
        };
        let mut at = types.start;
        while at < types.end {
            btf.starts.push(u32::try_from(at)?);
            let found = btf.type_at(at)?;
            let Some(len) = found.data_len() else {
                bail!("unknown kind {}", found.kind())
            };
            at = found.data + len;
        }
        ensure!(at == types.end, "a type is cut short");
        Ok(btf)
    }

    /// The member at a path such as `__sk_common.skc_dport` of `struct NAME`,
    /// through anonymous structs and unions; `None` when there is none.
    ///
    /// # Errors
    /// When the BTF is damaged.
    pub fn member(&self, name: &str, path: &str) -> Result<Option<Member>> {
        let Some(mut outer) = self.find(kind::STRUCT, name)? else {
            return Ok(None);
        };
        let mut found: Option<Member> = None;
        for step in path.split('.') {
            let Some(next) = self.step(outer, step, 0)? else {
                return Ok(None);
            };
            let base = found.map_or(0, |member| member.bit_offset);
            outer = next.type_id;
            found = Some(Member {
                bit_offset: base + next.bit_offset,
                ..next
            });
        }
        Ok(found)
    }

    /// Size of `struct NAME` in bytes; `None` when there is none.
    ///
    /// # Errors
    /// When the BTF is damaged.
    pub fn struct_size(&self, name: &str) -> Result<Option<u32>> {
        let Some(id) = self.find(kind::STRUCT, name)? else {
            return Ok(None);
        };
        self.stripped(id).map(|found| Some(found.size_or_type))
    }

    fn step(&self, outer: u32, name: &str, depth: u32) -> Result<Option<Member>> {
        let holder = self.stripped(outer)?;
        if depth > MAX_DEPTH || !matches!(holder.kind(), kind::STRUCT | kind::UNION) {
            return Ok(None);
        }
        for index in 0..holder.len() {
            let at = holder.data + index * 12;
            let (type_id, place) = (word(&self.blob, at + 4)?, word(&self.blob, at + 8)?);
            let (offset, bits) = if holder.has_widths() {
                (place & 0x00ff_ffff, place >> 24)
            } else {
                (place, 0)
            };
            let member_name = self.name(word(&self.blob, at)?);
            if member_name == name.as_bytes() {
                return self.describe(type_id, offset, bits).map(Some);
            }
            if member_name.is_empty()
                && let Some(inner) = self.step(type_id, name, depth + 1)?
            {
                return Ok(Some(Member {
                    bit_offset: offset + inner.bit_offset,
                    ..inner
                }));
            }
        }
        Ok(None)
    }

    fn describe(&self, type_id: u32, bit_offset: u32, bits: u32) -> Result<Member> {
        let found = self.stripped(type_id)?;
        let size = match found.kind() {
            kind::INT | kind::STRUCT | kind::UNION => found.size_or_type,
            kind::PTR => size_of::<u64>() as u32,
            _ => 0,
        };
        let bitfield = bits != 0 || !bit_offset.is_multiple_of(8);
        Ok(Member {
            bit_offset,
            bitfield,
            kind: found.kind(),
            size,
            type_id,
        })
    }

    /// A type without typedefs, qualifiers and tags; not for `void`.
    fn stripped(&self, id: u32) -> Result<Type> {
        self.unless_void(id)?.context("void where a type should be")
    }

    /// The same, or `None` for `void`, `const void` and the like.
    fn unless_void(&self, id: u32) -> Result<Option<Type>> {
        let mut id = id;
        for _ in 0..32 {
            let Some(start) = self.starts.get(id as usize) else {
                bail!("a type id is out of range");
            };
            if id == 0 {
                return Ok(None);
            }
            let found = self.type_at(*start as usize)?;
            match found.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Ok(Some(found)),
            }
        }
        bail!("a chain of typedefs does not end")
    }

    fn find(&self, kind: u32, name: &str) -> Result<Option<u32>> {
        for (id, start) in self.starts.iter().enumerate().skip(1) {
            let found = self.type_at(*start as usize)?;
            if found.kind() == kind && self.name(found.name) == name.as_bytes() {
                return Ok(Some(u32::try_from(id)?));
            }
        }
        Ok(None)
    }

    fn type_at(&self, at: usize) -> Result<Type> {
        let [name, info, size_or_type] = [
            word(&self.blob, at)?,
            word(&self.blob, at + 4)?,
            word(&self.blob, at + 8)?,
        ];
        Ok(Type {
            name,
            info,
            size_or_type,
            data: at + 12,
        })
    }

    fn name(&self, offset: u32) -> &[u8] {
        let strings = self.blob.get(self.strings.clone()).unwrap_or_default();
        let rest = strings.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N]> {
    let found = from.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().context("cut short")
}

fn word(from: &[u8], at: usize) -> Result<u32> {
    bytes(from, at).map(u32::from_ne_bytes)
}

#[cfg(test)]
pub mod tests;
