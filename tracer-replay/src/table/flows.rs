//! Flows by key, and by the second in which time next decides something of them. Memory
//! grows with flows in pieces that are never copied; nothing walks over all flows
//! but the end of a replay.

use std::{
    collections::{BTreeMap, btree_map::Entry as Bucket},
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;
use tracer_common::flow::{Flow, FlowKey};

/// Flows of one piece of memory.
const PIECE: usize = 4_096;
/// No place, and no second.
const NONE: u32 = u32::MAX;

/// Where a flow is, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// A flow with its key.
pub(super) struct Entry {
    pub(super) key: FlowKey,
    pub(super) flow: Flow,
    /// The second in which something is due; [`NONE`]: never, as far as is known.
    due_s: u32,
    /// Neighbours in the ring of flows that are due in the same second; of a free place
    /// `next` is the next free one.
    previous: u32,
    next: u32,
}

impl Entry {
    /// The second in which something is due.
    pub(super) const fn due_s(&self) -> Option<u32> {
        match self.due_s {
            NONE => None,
            due_s => Some(due_s),
        }
    }
}

/// All flows.
pub(super) struct Flows {
    index: HashTable<u32>,
    state: RandomState,
    pieces: Vec<Vec<Entry>>,
    /// The first free place.
    free: u32,
    /// By second the first flow that is due in it.
    due: BTreeMap<u32, u32>,
}

impl Flows {
    pub(super) fn new() -> Self {
        Self {
            index: HashTable::new(),
            state: RandomState::new(),
            pieces: Vec::new(),
            free: NONE,
            due: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// All places, those in use and the free ones.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let full = self.pieces.len().saturating_sub(1) * PIECE;
        let last = self.pieces.last().map_or(0, Vec::len);
        (0..(full + last) as u32).map(Place)
    }

    #[inline]
    pub(super) fn find(&self, key: &FlowKey) -> Option<Place> {
        let hash = self.state.hash_one(key);
        let is_it = |at: &u32| entry(&self.pieces, *at).is_some_and(|entry| entry.key == *key);
        self.index.find(hash, is_it).copied().map(Place)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: Place) -> Option<&mut Entry> {
        entry_mut(&mut self.pieces, at.0)
    }

    /// Adds a flow whose key is not there yet; nothing of it is due.
    pub(super) fn insert(&mut self, key: FlowKey, flow: Flow) -> Place {
        let new = Entry {
            key,
            flow,
            due_s: NONE,
            previous: NONE,
            next: NONE,
        };
        let at = self.free;
        let at = if let Some(free) = entry_mut(&mut self.pieces, at) {
            self.free = free.next;
            *free = new;
            at
        } else {
            self.push(new)
        };
        let (pieces, state) = (&self.pieces, &self.state);
        let rehash = |at: &u32| entry(pieces, *at).map_or(0, |entry| state.hash_one(entry.key));
        self.index.insert_unique(state.hash_one(key), at, rehash);
        Place(at)
    }

    fn push(&mut self, new: Entry) -> u32 {
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let before = (self.pieces.len() - 1) * PIECE;
        let Some(last) = self.pieces.last_mut() else {
            return NONE;
        };
        last.push(new);
        (before + last.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, at: Place) {
        self.unlink(at.0);
        let free = self.free;
        let Some(entry) = self.get_mut(at) else {
            return;
        };
        let key = std::mem::take(&mut entry.key);
        entry.flow = Flow::default();
        entry.next = free;
        self.free = at.0;
        let hash = self.state.hash_one(key);
        if let Ok(found) = self.index.find_entry(hash, |found| *found == at.0) {
            found.remove();
        }
    }

    /// Something is due in the second `due_s`, and no longer in another one.
    pub(super) fn schedule(&mut self, at: Place, due_s: Option<u32>) {
        self.unlink(at.0);
        let Some(due_s) = due_s.filter(|due_s| *due_s != NONE) else {
            return;
        };
        let first = match self.due.entry(due_s) {
            Bucket::Occupied(first) => *first.get(),
            Bucket::Vacant(none) => *none.insert(at.0),
        };
        // Into the ring, before the first one: as the last one.
        let last = if first == at.0 {
            at.0
        } else {
            self.previous(first)
        };
        if let Some(entry) = self.get_mut(at) {
            entry.due_s = due_s;
            entry.previous = last;
            entry.next = first;
        }
        self.join(last, at.0);
        self.join(at.0, first);
    }

    /// Takes out the next flow of which something is due until the second `now_s`; with
    /// the second in which that is.
    pub(super) fn take_due(&mut self, now_s: u32) -> Option<(Place, u32)> {
        let (due_s, first) = self.due.first_key_value()?;
        let (due_s, first) = (*due_s, *first);
        if due_s > now_s {
            return None;
        }
        self.unlink(first);
        Some((Place(first), due_s))
    }

    /// Takes a flow out of its ring.
    fn unlink(&mut self, at: u32) {
        let Some(entry) = entry_mut(&mut self.pieces, at) else {
            return;
        };
        let due_s = std::mem::replace(&mut entry.due_s, NONE);
        let (previous, next) = (entry.previous, entry.next);
        if due_s == NONE {
            return;
        }
        if next == at {
            self.due.remove(&due_s);
            return;
        }
        self.join(previous, next);
        if let Some(first) = self.due.get_mut(&due_s)
            && *first == at
        {
            *first = next;
        }
    }

    fn previous(&self, at: u32) -> u32 {
        entry(&self.pieces, at).map_or(NONE, |entry| entry.previous)
    }

    fn join(&mut self, previous: u32, next: u32) {
        if let Some(entry) = entry_mut(&mut self.pieces, previous) {
            entry.next = next;
        }
        if let Some(entry) = entry_mut(&mut self.pieces, next) {
            entry.previous = previous;
        }
    }
}

#[inline]
fn entry(pieces: &[Vec<Entry>], at: u32) -> Option<&Entry> {
    let at = at as usize;
    pieces.get(at / PIECE)?.get(at % PIECE)
}

#[inline]
fn entry_mut(pieces: &mut [Vec<Entry>], at: u32) -> Option<&mut Entry> {
    let at = at as usize;
    pieces.get_mut(at / PIECE)?.get_mut(at % PIECE)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    fn key(client_port: u16) -> FlowKey {
        FlowKey {
            client_port,
            ..FlowKey::default()
        }
    }

    #[test]
    fn flows_are_found_until_they_are_removed_and_places_are_used_again() {
        let mut flows = Flows::new();
        let places: Vec<Place> = (0..10_000)
            .map(|i| flows.insert(key(i), Flow::default()))
            .collect();
        for (i, place) in (0..10_000).zip(&places) {
            assert_eq!(flows.find(&key(i)), Some(*place));
            if i % 3 > 0 {
                flows.remove(*place);
                assert_eq!(flows.find(&key(i)), None);
            }
        }
        assert_eq!((flows.len(), flows.places().count()), (3_334, 10_000));
        for i in 10_000..16_666 {
            flows.insert(key(i), Flow::default());
        }
        assert_eq!((flows.len(), flows.places().count()), (10_000, 10_000));
        assert_eq!(flows.find(&key(9_999)), Some(places[9_999]));
    }

    #[test]
    fn what_is_due_comes_by_second_and_in_order_of_scheduling() {
        let mut flows = Flows::new();
        let places: Vec<Place> = (0..6)
            .map(|i| flows.insert(key(i), Flow::default()))
            .collect();
        for (place, due_s) in places.iter().zip([7, 5, 7, 7, 9, 7]) {
            flows.schedule(*place, Some(due_s));
        }
        flows.schedule(places[3], Some(4));
        flows.schedule(places[5], None);
        flows.remove(places[0]);
        let mut taken = Vec::new();
        while let Some(due) = flows.take_due(8) {
            taken.push(due);
        }
        assert_eq!(taken, [(places[3], 4), (places[1], 5), (places[2], 7)]);
        assert_eq!(flows.take_due(9), Some((places[4], 9)));
        assert!(flows.due.is_empty());
    }
}
