//! conntrack's entry and its two tuples. The programs copy a tuple whole, for
//! that its layout has to be the one they know.

use anyhow::{Context as _, Result};

use super::table::{Shape, check};
use crate::hooks::btf::Btf;

/// What [`resolve`] finds.
pub const GLOBALS: [&str; 3] = ["SKB_NFCT", "CT_ORIGINAL", "CT_REPLY"];

const TUPLE: &str = "nf_conntrack_tuple";
const TUPLE_HASH: &str = "nf_conntrack_tuple_hash";
/// Bytes of `struct nf_conntrack_tuple`.
const TUPLE_LEN: u32 = 40;

const LAYOUT: [(&str, Shape); 6] = [
    ("src.u3.ip", Shape::IntAt(4, 0)),
    ("src.u.tcp.port", Shape::IntAt(2, 16)),
    ("src.l3num", Shape::IntAt(2, 18)),
    ("dst.u3.ip", Shape::IntAt(4, 20)),
    ("dst.u.tcp.port", Shape::IntAt(2, 36)),
    ("dst.protonum", Shape::IntAt(1, 38)),
];

/// Offsets in bytes of `sk_buff._nfct` and of the two tuples of `nf_conn`.
///
/// # Errors
/// Names the `struct.member` that is missing or different.
pub fn resolve(btf: &Btf) -> Result<[u16; 3]> {
    let offset = |name, path, shape| -> Result<u16> { check(name, path, shape, &[]).resolve(btf) };
    for (path, shape) in LAYOUT {
        offset(TUPLE, path, shape)?;
    }
    let nfct = offset("sk_buff", "_nfct", Shape::Int(8))?;
    let hashes = offset("nf_conn", "tuplehash", Shape::Array)?;
    let tuple = offset(TUPLE_HASH, "tuple", Shape::Struct(TUPLE_LEN))?;
    let step = btf
        .struct_size(TUPLE_HASH)?
        .and_then(|size| u16::try_from(size).ok())
        .context(TUPLE_HASH)?;
    let original = hashes.saturating_add(tuple);
    Ok([nfct, original, original.saturating_add(step)])
}
