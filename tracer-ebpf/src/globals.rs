//! Read-only globals that the loader sets before the programs are verified, so
//! that the verifier folds them in and prunes what they switch off.

use aya_ebpf::Global;
use tracer_common::{
    first_bytes::ProbeMethods,
    layout::LAYOUT,
    machine::{self, Limits},
};

/// What the object was built with; the loader refuses one that differs from its own.
#[unsafe(no_mangle)]
static TRACER_LAYOUT: Global<u64> = Global::new(LAYOUT);
#[unsafe(no_mangle)]
static HANDSHAKE_TIMEOUT_NS: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static IDLE_AFTER_NS: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static EXPIRE_AFTER_S: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static HALF_CLOSED_AFTER_S: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PROBE_METHODS: Global<ProbeMethods> = Global::new(ProbeMethods::new());
/// 1 when any probe source is configured.
#[unsafe(no_mangle)]
static HAS_PROBE_SOURCES: Global<u8> = Global::new(0);

/// The operator's limits.
#[inline(always)]
pub fn limits() -> Limits {
    Limits {
        handshake_timeout_ns: HANDSHAKE_TIMEOUT_NS.load(),
        idle_after_ns: IDLE_AFTER_NS.load(),
        expire_after_s: EXPIRE_AFTER_S.load(),
        half_closed_after_s: HALF_CLOSED_AFTER_S.load(),
        probes: PROBE_METHODS.load(),
    }
}

/// [`Limits::quiet_s`] of them.
#[inline(always)]
pub fn quiet_s() -> u32 {
    let idle_after_ns = IDLE_AFTER_NS.load();
    machine::quiet_s(
        idle_after_ns,
        HALF_CLOSED_AFTER_S.load(),
        EXPIRE_AFTER_S.load(),
    )
}

/// Whether probe sources need a look at all.
#[inline(always)]
pub fn has_probe_sources() -> bool {
    HAS_PROBE_SOURCES.load() != 0
}

/// Keeps the layout in the object.
#[inline(always)]
pub fn layout() -> u64 {
    TRACER_LAYOUT.load()
}
