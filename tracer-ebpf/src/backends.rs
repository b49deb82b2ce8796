//! The table of backends: which pod addresses and ports NAT chose, for which
//! port. Places are found by hash; one lock guards the claim of a free place.

use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::{
    failure::{BACKENDS as PLACES, Backend},
    flow::{Addr, FlowKey},
    words::Lost,
};

use crate::{
    flows::Lock,
    maps::{clock_s, lost},
};

/// Backends by place; port 0: free.
#[map]
static BACKENDS: Array<Backend> = Array::with_max_entries(PLACES, 0);
/// Ports that backends have or had, a bit each: most sockets have another.
#[map]
static BACKEND_PORTS: Array<u64> = Array::with_max_entries(65_536 / u64::BITS, 0);
/// The lock under which a place is claimed.
#[map]
static BACKENDS_LOCK: Array<u32> = Array::with_max_entries(1, 0);

/// Whether a backend may have this port.
#[inline(always)]
pub fn may_have(port: u16) -> bool {
    let bits = BACKEND_PORTS.get(u32::from(port) / u64::BITS);
    bits.is_some_and(|bits| bits >> (u32::from(port) % u64::BITS) & 1 != 0)
}

/// Places that a backend may stand in, from its hash on.
const PROBES: u32 = 8;

/// A backend of the port at `slot`.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Its address.
    pub addr: Addr,
    /// Its port, host byte order; not 0.
    pub port: u16,
    /// Position of the node port's counters.
    pub slot: u16,
}

impl Wanted {
    /// The first place to look at.
    #[inline(always)]
    fn hash(&self) -> u32 {
        let key = FlowKey {
            client: self.addr,
            node: Addr::default(),
            client_port: self.port,
            node_port: self.slot,
        };
        key.stripe(PLACES.ilog2())
    }

    #[inline(always)]
    fn is_at(&self, backend: &Backend) -> bool {
        backend.port == self.port && backend.slot == self.slot && backend.addr == self.addr
    }

    /// Position in the table plus one, if it has a place.
    #[inline(always)]
    pub fn known(&self) -> Option<u16> {
        self.search(|backend| self.is_at(backend))
    }

    /// The same of the place it has or now gets; 0 when all its places are
    /// taken.
    #[inline(always)]
    pub fn place(&self) -> u16 {
        if let Some(found) = self.known() {
            return found;
        }
        let Some(_lock) = BACKENDS_LOCK.get_ptr_mut(0).and_then(Lock::take) else {
            return 0;
        };
        // Another CPU may have claimed it meanwhile.
        if let Some(found) = self.known() {
            return found;
        }
        let Some(free) = self.search(|backend| backend.port == 0) else {
            lost(Lost::Backends);
            return 0;
        };
        self.claim(free);
        free
    }

    #[inline(always)]
    fn search(&self, fits: impl Fn(&Backend) -> bool) -> Option<u16> {
        let first = self.hash();
        for probe in 0..PROBES {
            let place = (first + probe) % PLACES;
            // SAFETY: the lock's holder alone writes what is compared, the port
            // last: who sees the port sees the rest.
            let backend = unsafe { &*BACKENDS.get_ptr(place)? };
            if fits(backend) {
                return Some(place as u16 + 1);
            }
        }
        None
    }

    /// Writes the port last: only then the place counts as taken.
    #[inline(always)]
    fn claim(&self, place: u16) {
        let Some(backend) = at(place) else { return };
        // SAFETY: the lock is held, so that nobody else writes here.
        let backend = unsafe { &mut *backend };
        backend.addr = self.addr;
        backend.slot = self.slot;
        backend.attempts = 0;
        // Volatile, or the compiler clears both counts by one call of memset: 5.10
        // takes no call from a frame of more than 480 bytes ("combined stack size
        // of 2 calls is 544").
        // SAFETY: an aligned member of the same element.
        unsafe { (&raw mut backend.passive_opens).write_volatile(0) };
        backend.seen_s = clock_s();
        if let Some(bits) = BACKEND_PORTS.get_ptr_mut(u32::from(self.port) / u64::BITS) {
            // SAFETY: an element of a map, written under the lock alone.
            unsafe { *bits |= 1 << (u32::from(self.port) % u64::BITS) };
        }
        // SAFETY: an aligned member of the same element.
        unsafe { (&raw mut backend.port).write_volatile(self.port) };
    }
}

/// Counts an attempt for the backend at a place.
#[inline(always)]
pub fn count(place: u16) {
    let Some(backend) = at(place) else { return };
    // SAFETY: an element of a map, whose memory stays.
    let backend = unsafe { &mut *backend };
    // SAFETY: aligned, and only ever added to.
    let _ = unsafe { atomic_xadd::<u64, u64, { Relaxed }>(&raw mut backend.attempts, 1) };
    // SAFETY: aligned; whoever writes last writes the same second.
    unsafe { (&raw mut backend.seen_s).write_volatile(clock_s()) };
}

/// Counts a handshake that the backend's own socket has completed.
#[inline(always)]
pub fn opened(place: u16) {
    let Some(backend) = at(place) else { return };
    // SAFETY: an element of a map, whose memory stays.
    let opens = unsafe { &raw mut (*backend).passive_opens };
    // SAFETY: aligned, and only ever added to.
    let _ = unsafe { atomic_xadd::<u64, u64, { Relaxed }>(opens, 1) };
}

#[inline(always)]
fn at(place: u16) -> Option<*mut Backend> {
    BACKENDS.get_ptr_mut(u32::from(place.checked_sub(1)?))
}
