//! What a connection is for, by the client's first bytes.
//!
//! A pure function of (state, segment): the kernel program, `replay` and the
//! tests run this same code. Up to 32 bytes are kept across segments, so the
//! decision does not depend on how the bytes were cut into segments.
//!
//! | form | test | decided after |
//! |---|---|---|
//! | strict binary | `80 01 .. 01-04 00` | 5 bytes (with probe methods: the name) |
//! | old binary | int32 1 to 64, identifier of that length, type 1 to 4 | the type, or 32 bytes |
//! | compact | `82`, version 1, type 1 to 4, varint, identifier of 1 to 256 | the name, or 32 bytes |
//! | THeader | length, `0f ff` | the inner type, or 16 bytes if it is hidden |
//! | framed | int32 1 to 16,384,000, then any of the above | 4 bytes more |
//!
//! A PROXY header (version 1 or 2) before them is passed over. Version 2 with
//! command LOCAL comes from the load balancer itself and not from a client: it
//! decides `HealthCheck` at once, whatever follows (a check with an HTTP request
//! behind LOCAL is a check still).
//!
//! Limits: TJSONProtocol and Thrift over HTTP or TLS are `Other`. A probe method
//! is not recognised inside THeader. (A memcached binary SET with a key of 1 to 4 bytes
//! shares four bytes with strict binary, and not the fifth.)
//!
//! # How often other bytes look like Thrift
//! Measured by the test `weak_forms_on_random_bytes`: draws of 32 random bytes
//! (xorshift64, fixed seed), a million for each line, some bytes set.
//!
//! | set | counted as Thrift | times the chance of the bytes set |
//! |---|---|---|
//! | none | 0 | |
//! | old binary: `00 00 00` | 39 | 2^-24: 2.3e-12 |
//! | framed old binary: `00 00`, at 4 `00 00 00` | 15 | 2^-32: 3.5e-15 |
//! | compact: `82` | 26 | 2^-8: 1.0e-7 |
//! | framed compact: `00 00`, at 4 `82` | 20 | 2^-16: 3.1e-10 |
//!
//! Strict binary by its five bytes: 4 in 2^32, 9.3e-10. None of the 28 first bytes
//! of clients of other protocols in `tests/first_bytes/others.rs` (HTTP, TLS,
//! `PostgreSQL`, Kafka, DNS, SMB, ...) counts as Thrift, nor do zeros.

mod message;
mod payload;
mod probes;
mod proxy;
mod thrift;
mod window;

pub use message::{Message, MessageType, Protocol};
pub use payload::{CHUNK, Chunk, Payload};
pub use probes::{PROBE_METHOD_MAX, PROBE_METHODS, ProbeMethodError, ProbeMethods};
pub use thrift::{MAX_FRAME, message_in};

use proxy::Header;
use thrift::State;
use window::Window;

/// What a connection's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// More bytes are needed. Not possible any more after 32 bytes.
    Undecided,
    /// Thrift.
    Thrift(Message),
    /// A Thrift call of a configured probe method.
    Probe(Message),
    /// Anything else: HTTP, TLS, a bad PROXY header, bytes that cannot be read.
    Other,
    /// A PROXY version 2 header with command LOCAL.
    HealthCheck,
    /// Nobody can say: the bytes that decide are missing, see [`Payload::is_cut`].
    Missing,
}

/// What is kept of a connection until its first bytes are decided: 36 bytes
/// without padding, all zero at the start.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    /// The first `len` bytes after any PROXY header, as little-endian words; what
    /// follows is zero. While `len` is 0, the first word is where the next round
    /// starts in the segment.
    prefix: [u32; 8],
    /// Bytes that a PROXY header may still have.
    left: u16,
    /// Bytes in `prefix`.
    len: u8,
    /// Progress through a PROXY header, then what has to be known later.
    stage: u8,
}

impl Default for FirstBytes {
    #[inline(always)]
    fn default() -> Self {
        Self::new()
    }
}

impl FirstBytes {
    /// The state before any byte.
    #[must_use]
    #[inline(always)]
    pub const fn new() -> Self {
        // Known zeros would become a call of a byte-wise `memset`.
        let zero = core::hint::black_box(0);
        Self {
            prefix: [zero; 8],
            left: 0,
            len: 0,
            stage: proxy::START,
        }
    }

    /// Takes the client's next segment, in order and without retransmitted
    /// bytes. Call it until it says something else than `Undecided`; that is
    /// final and for the caller to keep. A segment without payload changes
    /// nothing.
    #[inline(always)]
    pub fn segment<P: Payload + ?Sized>(&mut self, payload: &P, probes: &ProbeMethods) -> Decision {
        if payload.is_empty() {
            return Decision::Undecided;
        }
        if self.len == 0 {
            self.prefix[0] = 0;
        }
        for _ in 0..proxy::ROUNDS {
            // All that goes from one round to the next is in `self`, behind a
            // pointer of unknown origin: so the verifier, which knows nothing of
            // a map value's content, meets one state here, not thousands.
            let this = core::hint::black_box(&mut *self);
            if let Some(decision) = this.round(payload, probes) {
                return decision;
            }
        }
        Decision::Other
    }

    /// Takes one chunk; `None` when there is more to do.
    #[inline(always)]
    fn round<P: Payload + ?Sized>(
        &mut self,
        payload: &P,
        probes: &ProbeMethods,
    ) -> Option<Decision> {
        let at = if self.len == 0 { self.prefix[0] } else { 0 };
        if self.stage == proxy::V2 {
            return self.pass_v2(at, payload.len().saturating_sub(at));
        }
        let (chunk, unread) = Window::read(payload, at);
        let decision = match self.stage {
            _ if chunk.len == 0 => Some(Decision::Undecided),
            proxy::V1_TEXT => self.pass_v1_text(at, &chunk),
            proxy::V1_LF => self.pass_v1_lf(at, &chunk),
            _ => self.join(at, &chunk, probes),
        };
        // Later bytes could not be joined to these.
        if unread && decision == Some(Decision::Undecided) {
            let missing = payload.is_cut();
            return Some(if missing {
                Decision::Missing
            } else {
                Decision::Other
            });
        }
        decision
    }

    /// Joins a chunk to the bytes kept and judges them.
    #[inline(always)]
    fn join(&mut self, at: u32, chunk: &Window, probes: &ProbeMethods) -> Option<Decision> {
        let before = u32::from(self.len);
        let window = if before == 0 {
            *chunk
        } else {
            self.window().append(chunk)
        };
        self.keep(&window);
        // As in `segment`: what follows starts from memory.
        core::hint::black_box(&mut *self).judge(at, before, probes)
    }

    /// Judges the bytes kept: `before` of them were there already, the others
    /// came from `at` on in the segment.
    #[inline(always)]
    fn judge(&mut self, at: u32, before: u32, probes: &ProbeMethods) -> Option<Decision> {
        let window = self.window();
        match self.detect(&window) {
            Header::Begins(tested) => {
                self.go_on(at + tested.saturating_sub(before));
                return None;
            }
            Header::Settled(decision) => return Some(decision),
            Header::Partial => return Some(Decision::Undecided),
            Header::Absent => {}
        }
        let window = core::hint::black_box(&*self).window();
        let look = thrift::look(&window);
        if look.old && look.state == State::Known {
            self.stage = proxy::OLD_BINARY;
        }
        Some(thrift::decide(&look, probes))
    }

    /// Leaves the next round to start at `at` in the segment.
    #[inline(always)]
    fn go_on(&mut self, at: u32) {
        self.len = 0;
        self.prefix[0] = at;
    }

    /// What to say of a connection that ended, or was silent for too long,
    /// while `Undecided`: `Thrift` if only its type or method was missing,
    /// `Other` if bytes came that are no message, `HealthCheck` after LOCAL,
    /// `Undecided` if nothing came besides a PROXY header.
    #[must_use]
    #[inline(always)]
    pub fn at_close(&self) -> Decision {
        if self.local() {
            return Decision::HealthCheck;
        }
        if !self.has_bytes() {
            return Decision::Undecided;
        }
        let look = thrift::look(&self.window());
        match look.state {
            State::Known | State::Likely => Decision::Thrift(look.message),
            State::Other | State::Unknown => Decision::Other,
        }
    }

    /// True when the client has sent bytes, a PROXY header not counted.
    #[must_use]
    #[inline(always)]
    pub const fn has_bytes(&self) -> bool {
        self.len != 0
    }

    /// True after a PROXY version 2 header with command LOCAL.
    #[must_use]
    #[inline(always)]
    pub const fn local(&self) -> bool {
        self.stage == proxy::LOCAL
    }

    /// True when the first message is old binary, once that is decided: what
    /// [`message_in`] wants to know.
    #[must_use]
    #[inline(always)]
    pub const fn old_binary(&self) -> bool {
        self.stage == proxy::OLD_BINARY
    }

    #[inline(always)]
    fn keep(&mut self, window: &Window) {
        let [w, x, y, z] = window.words;
        let high = |word: u64| (word >> 32) as u32;
        self.prefix = [
            w as u32,
            high(w),
            x as u32,
            high(x),
            y as u32,
            high(y),
            z as u32,
            high(z),
        ];
        self.len = window.len as u8;
    }

    #[inline(always)]
    fn window(&self) -> Window {
        let [a, b, c, d, e, f, g, h] = self.prefix;
        let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
        Window {
            words: [join(a, b), join(c, d), join(e, f), join(g, h)],
            len: u32::from(self.len),
            room: CHUNK as u32,
        }
    }
}

/// Classifies bytes given in one piece, as if they were a connection's first
/// segment.
#[must_use]
pub fn classify(bytes: &[u8], probes: &ProbeMethods) -> Decision {
    FirstBytes::new().segment(bytes, probes)
}

const _: () = assert!(size_of::<FirstBytes>() == 36 && align_of::<FirstBytes>() == 4);
const _: () = assert!(size_of::<ProbeMethods>() == 96);
