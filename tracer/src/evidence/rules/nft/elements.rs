//! Elements of sets and maps.

use super::{Names, nested, number};
use crate::evidence::{
    netlink::Attributes,
    rules::table::{Data, Element},
};

/// Longest key that is kept.
const LONGEST: usize = 64;

pub(super) fn read(one: &[u8], names: &Names<'_>) -> Option<Element> {
    let of = Attributes(one);
    let flags = number(of, 3).unwrap_or_default();
    let value = |kind| nested(of, kind).find(1).filter(|v| v.len() <= LONGEST);
    let data = nested(of, 2);
    Some(Element {
        // What stands for all else has no key.
        key: if flags & 2 == 0 {
            value(1)?.into()
        } else {
            Box::default()
        },
        last: value(10).map(Into::into),
        ends: flags & 1 != 0,
        data: match (data.find(1), data.find(2)) {
            (Some(bytes), _) if bytes.len() <= LONGEST => Data::Bytes(bytes.into()),
            (_, Some(verdict)) => names
                .verdict(Attributes(verdict))
                .map_or(Data::None, Data::Verdict),
            _ => Data::None,
        },
    })
}
