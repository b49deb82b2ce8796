//! Looking a SYN up in a set or a map.

use super::{
    packet::{Packet, same},
    table::{Element, Lookup, Set, Tables},
};

/// Most elements that a SYN of which not all is known is followed to.
const MOST: usize = 256;

/// What a set holds for a SYN.
#[derive(Debug, Default)]
pub struct Found<'a> {
    /// One of these, if any.
    pub hits: Vec<&'a Element>,
    /// It may be none of them, or another.
    pub open: bool,
}

impl Found<'_> {
    /// Whether there is an element; `None`: it cannot be decided.
    pub fn is_in(&self) -> Option<bool> {
        match (self.open, self.hits.is_empty()) {
            (false, empty) => Some(!empty),
            (true, _) => None,
        }
    }
}

/// `None`: the set's elements are not known.
pub fn find<'a>(tables: &'a Tables, packet: &Packet<'_>, lookup: &Lookup) -> Option<Found<'a>> {
    if packet.open || packet.destinations.len() < 2 {
        return find_one(tables, packet, lookup);
    }
    let mut all = Found::default();
    let mut misses = false;
    for destination in &packet.destinations {
        let one = Packet {
            destinations: vec![*destination],
            ..packet.clone()
        };
        let found = find_one(tables, &one, lookup)?;
        misses |= found.hits.is_empty();
        all.open |= found.open;
        for hit in found.hits {
            if !all.hits.iter().any(|known| std::ptr::eq(*known, hit)) {
                all.hits.push(hit);
            }
        }
    }
    all.open |= misses && !all.hits.is_empty();
    Some(all)
}

fn find_one<'a>(tables: &'a Tables, packet: &Packet<'_>, lookup: &Lookup) -> Option<Found<'a>> {
    let set = tables.sets.get(lookup.set? as usize)?;
    let elements = set.elements.as_ref().filter(|_| !set.odd)?;
    let mut key = Vec::new();
    let mut widths = Vec::new();
    for operand in &lookup.key {
        let mut bytes = packet.bytes(operand);
        bytes.resize(bytes.len().next_multiple_of(4), Some(0));
        widths.push(bytes.len());
        key.extend(bytes);
    }
    key.truncate(set.key_length as usize);
    let whole: Option<Vec<u8>> = key.iter().copied().collect();
    let mut found = match whole {
        Some(key) if set.interval && !set.concat => in_range(elements, &key),
        Some(key) if !set.concat || !set.interval => exact(elements, &key),
        _ => scan(set, elements, &key, &widths),
    };
    if found.hits.is_empty() && !found.open {
        // What stands for all else.
        found
            .hits
            .extend(elements.iter().find(|e| e.key.is_empty()));
    }
    if found.hits.len() > MOST {
        found.hits.truncate(MOST);
        found.open = true;
    }
    Some(found)
}

fn exact<'a>(elements: &'a [Element], key: &[u8]) -> Found<'a> {
    let at = elements.partition_point(|e| *e.key < *key);
    let hit = elements
        .get(at)
        .filter(|e| *e.key == *key && !e.key.is_empty());
    Found {
        hits: hit.into_iter().collect(),
        open: false,
    }
}

/// Ranges as starts and ends: what counts is the last before the key.
fn in_range<'a>(elements: &'a [Element], key: &[u8]) -> Found<'a> {
    let at = elements.partition_point(|e| *e.key <= *key);
    let last = at.checked_sub(1).and_then(|at| elements.get(at));
    let hit = last.filter(|e| !e.ends && !e.key.is_empty());
    Found {
        hits: hit.into_iter().collect(),
        open: false,
    }
}

/// Where bytes are missing, or ranges have several fields.
fn scan<'a>(set: &Set, elements: &'a [Element], key: &[Option<u8>], widths: &[usize]) -> Found<'a> {
    let mut found = Found::default();
    for element in elements.iter().filter(|e| !e.key.is_empty() && !e.ends) {
        let fits = if set.interval && !set.concat {
            None
        } else {
            match &element.last {
                Some(last) => within(&element.key, last, key, widths),
                None => same(key, &element.key),
            }
        };
        if fits == Some(false) {
            continue;
        }
        found.open |= fits.is_none();
        found.hits.push(element);
        if found.hits.len() > MOST {
            break;
        }
    }
    found
}

/// Whether each field lies in its range.
fn within(low: &[u8], high: &[u8], key: &[Option<u8>], widths: &[usize]) -> Option<bool> {
    let mut open = false;
    let mut at = 0;
    for width in widths {
        let field = at..at + width;
        at += width;
        let bytes: Option<Vec<u8>> = key.get(field.clone())?.iter().copied().collect();
        let (Some(bytes), Some(low), Some(high)) = (bytes, low.get(field.clone()), high.get(field))
        else {
            open = true;
            continue;
        };
        if *bytes < *low || *bytes > *high {
            return Some(false);
        }
    }
    (!open).then_some(true)
}
