//! The failures by kind, the backends and the records of single failures: read,
//! and kept from filling up with what is long past.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap as KernelMap, MapData, RingBuf},
};
use tracer_common::{
    config::ELSEWHERE,
    failure::{BACKENDS, Backend, FAILURES, FailureKey, RECORDS_BYTES, Record, SERVED, ServedKey},
    flow::FlowKey,
};

use super::{batch::Batch, numbers::Numbers, object, tapped::TappedNames};
use crate::snapshot::{Failures, Positions};

/// Kinds above which those are forgotten that are long past.
const MANY_KINDS: usize = FAILURES as usize / 4 * 3;
/// Seconds without another failure of its kind until a kind is long past.
const KIND_AFTER_S: u32 = 2 * 60;
/// Seconds without an attempt until a backend is long past.
const BACKEND_AFTER_S: u32 = 15 * 60;

/// More records than the ring can hold.
const MOST_RECORDS: usize = RECORDS_BYTES as usize / size_of::<Record>();

/// The maps about failures.
pub struct Tables {
    maps: Mutex<Inner>,
    numbers: Mutex<Numbers>,
    tapped: Mutex<TappedNames>,
}

struct Inner {
    kinds: KernelMap<MapData, FailureKey, u64>,
    kind_rows: Batch<FailureKey, u64>,
    backends: Array<MapData, Backend>,
    backend_rows: Batch<u32, Backend>,
    records: RingBuf<MapData>,
    served: KernelMap<MapData, ServedKey, u64>,
    served_rows: Batch<ServedKey, u64>,
    elsewhere: KernelMap<MapData, FlowKey, u64>,
    elsewhere_rows: Batch<FlowKey, u64>,
    /// Counts as last seen by [`Tables::clean`], and when each changed.
    changed: HashMap<FailureKey, (u64, u32)>,
}

/// Which backends the flow table refers to, by place.
pub struct Used(Vec<bool>);

impl Used {
    /// None.
    pub fn none() -> Self {
        Self(vec![false; BACKENDS as usize + 1])
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.fill(false);
    }

    /// Notes a flow's backend: its place plus one, or 0.
    pub fn add(&mut self, backend: u16) {
        if let Some(used) = self.0.get_mut(usize::from(backend)) {
            *used = true;
        }
    }

    fn has(&self, backend: u16) -> bool {
        self.0.get(usize::from(backend)).is_some_and(|used| *used)
    }
}

impl Tables {
    /// Takes the maps out of the object.
    pub fn new(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        let maps = Inner {
            kinds: object::take(ebpf, "FAILURES")?,
            kind_rows: Batch::new(FAILURES as usize),
            backends: object::take(ebpf, "BACKENDS")?,
            backend_rows: Batch::new(BACKENDS as usize),
            records: object::take(ebpf, "RECORDS")?,
            served: object::take(ebpf, "SERVED")?,
            served_rows: Batch::new(SERVED as usize),
            elsewhere: object::take(ebpf, "ELSEWHERE")?,
            elsewhere_rows: Batch::new(ELSEWHERE as usize),
            changed: HashMap::new(),
        };
        Ok(Self {
            maps: Mutex::new(maps),
            numbers: Mutex::default(),
            tapped: Mutex::default(),
        })
    }

    /// The numbers of the node's own addresses.
    pub fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the interfaces that are tapped.
    pub fn tapped(&self) -> MutexGuard<'_, TappedNames> {
        self.tapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connections that were established since the last call, by whose they
    /// were. What cannot be read now is there the next time.
    pub fn served(&self) -> Vec<(ServedKey, u64)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut served = Vec::new();
        let see = |key: &ServedKey, count: &u64| served.push((*key, *count));
        if let Err(error) = inner.served_rows.drain(&inner.served, see) {
            tracing::debug!(%error, "cannot read the established connections");
        }
        served
    }

    /// Takes the SYNs to watched ports of addresses that are not the node's own, which
    /// came since the last call.
    pub fn elsewhere(&self) -> Vec<(SocketAddr, u64)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut all = Vec::new();
        let see = |key: &FlowKey, count: &u64| {
            all.push((SocketAddr::new(key.node.ip(), key.node_port), *count));
        };
        if let Err(error) = inner.elsewhere_rows.drain(&inner.elsewhere, see) {
            tracing::debug!(%error, "cannot read the SYNs to other addresses");
        }
        all
    }

    /// All kinds of failures with their counts, and what stands at the positions in them.
    pub fn read(&self) -> anyhow::Result<Failures> {
        let mut inner = self.lock();
        // Kinds first: a backend in one of them is in the table already.
        let kinds = inner.kinds()?;
        let backends = inner.backends()?;
        let addresses = self.numbers().all();
        let interfaces = self.tapped().all().clone();
        Ok(Failures {
            kinds,
            positions: Positions {
                backends,
                addresses,
                interfaces,
            },
        })
    }

    /// The records that have come since the last call.
    pub fn records(&self) -> Vec<Record> {
        let mut inner = self.lock();
        let mut records = Vec::new();
        // No more than the ring holds, should they come in as fast as read.
        for _ in 0..MOST_RECORDS {
            let Some(item) = inner.records.next() else {
                break;
            };
            records.extend(record(&item));
        }
        records
    }

    /// Forgets what is long past at `now_s`, seconds of the coarse clock.
    pub fn clean(&self, now_s: u32, used: &Used) -> anyhow::Result<()> {
        let mut inner = self.lock();
        inner.clean_backends(now_s, used)?;
        let mut numbers = self.numbers();
        let past = numbers.past(now_s);
        if !past.is_empty() {
            // The numbers become others': first the kinds that name them go.
            inner.forget_where(|key| past.contains(&key.address))?;
            numbers.free(&past);
        }
        drop(numbers);
        inner.clean_kinds(now_s)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn kinds(&mut self) -> anyhow::Result<Vec<(FailureKey, u64)>> {
        let mut kinds = Vec::new();
        self.kind_rows
            .walk(&self.kinds, |key, count| {
                // A kind stands there with 0 until its first failure is added.
                if *count != 0 {
                    kinds.push((*key, *count));
                }
            })
            .context("read the failures by kind")?;
        Ok(kinds)
    }

    fn backends(&mut self) -> anyhow::Result<BTreeMap<u16, Backend>> {
        let mut backends = BTreeMap::new();
        self.backend_rows
            .walk(&self.backends, |place, backend| {
                if let Ok(place) = u16::try_from(*place + 1)
                    && backend.port != 0
                {
                    backends.insert(place, *backend);
                }
            })
            .context("read the backends")?;
        Ok(backends)
    }

    /// Frees the places of backends that are long past and that no flow refers
    /// to; before, the kinds that name them: the place may become another's.
    fn clean_backends(&mut self, now_s: u32, used: &Used) -> anyhow::Result<()> {
        let past = |backend: &Backend| now_s.saturating_sub(backend.seen_s) >= BACKEND_AFTER_S;
        let mut gone = self.backends()?;
        gone.retain(|place, backend| past(backend) && !used.has(*place));
        if gone.is_empty() {
            return Ok(());
        }
        self.forget_where(|key| gone.contains_key(&key.backend))?;
        for place in gone.keys() {
            let place = u32::from(*place) - 1;
            // An attempt may have come since.
            if past(&self.backends.get(&place, 0)?) {
                self.backends.set(place, Backend::default(), 0)?;
            }
        }
        Ok(())
    }

    fn clean_kinds(&mut self, now_s: u32) -> anyhow::Result<()> {
        let kinds = self.kinds()?;
        let before = std::mem::take(&mut self.changed);
        for (key, count) in &kinds {
            let known = before.get(key).filter(|(known, _)| known == count);
            let since_s = known.map_or(now_s, |(_, since_s)| *since_s);
            self.changed.insert(*key, (*count, since_s));
        }
        if kinds.len() <= MANY_KINDS {
            return Ok(());
        }
        let past = |since_s: &u32| now_s.saturating_sub(*since_s) >= KIND_AFTER_S;
        let changed = self.changed.iter();
        let gone: Vec<_> = changed
            .filter_map(|(key, (_, since_s))| past(since_s).then_some(*key))
            .collect();
        self.forget(gone.iter());
        Ok(())
    }

    fn forget_where(&mut self, past: impl Fn(&FailureKey) -> bool) -> anyhow::Result<()> {
        let kinds = self.kinds()?;
        self.forget(kinds.iter().map(|(key, _)| key).filter(|key| past(key)));
        Ok(())
    }

    fn forget<'a>(&mut self, kinds: impl Iterator<Item = &'a FailureKey>) {
        for key in kinds {
            // Absent already: nothing to undo.
            let _ = self.kinds.remove(key);
        }
    }
}

/// A record as the ring holds it; `None` when it is cut short.
fn record(bytes: &[u8]) -> Option<Record> {
    if bytes.len() < size_of::<Record>() {
        return None;
    }
    // SAFETY: as many bytes as a record has are there, any bytes are one, and
    // the read asks for no alignment.
    Some(unsafe { bytes.as_ptr().cast::<Record>().read_unaligned() })
}
