//! Types that userspace copies to and from maps and globals byte by byte.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe marker trait")]

use crate::config::{Mac, RowPool};
use crate::counters::PortCounters;
use crate::failure::{Backend, FailureKey, Note, Record, ServedKey};
use crate::first_bytes::ProbeMethods;
use crate::flow::{Addr, Flow, FlowKey, Forwarded};
use crate::latency::LatencyKey;

// SAFETY: `repr(C)` arrays of integers without padding; any bytes are a value.
unsafe impl aya::Pod for Addr {}
// SAFETY: as above.
unsafe impl aya::Pod for Mac {}
// SAFETY: as above.
unsafe impl aya::Pod for FlowKey {}
// SAFETY: as above; its padding is an explicit field.
unsafe impl aya::Pod for Flow {}
// SAFETY: as above.
unsafe impl aya::Pod for Forwarded {}
// SAFETY: as above.
unsafe impl aya::Pod for PortCounters {}
// SAFETY: as above.
unsafe impl aya::Pod for ProbeMethods {}
// SAFETY: as above.
unsafe impl aya::Pod for RowPool {}
// SAFETY: as above.
unsafe impl aya::Pod for LatencyKey {}
// SAFETY: as above; its padding is an explicit field.
unsafe impl aya::Pod for Note {}
// SAFETY: as above.
unsafe impl aya::Pod for FailureKey {}
// SAFETY: as above; its padding is an explicit field.
unsafe impl aya::Pod for ServedKey {}
// SAFETY: as above.
unsafe impl aya::Pod for Backend {}
// SAFETY: as above; its padding is an explicit field.
unsafe impl aya::Pod for Record {}
