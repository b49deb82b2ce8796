//! The method names that health checkers call.

use core::fmt;

use super::Chunk;
use super::window::{Window, keep};

/// Longest method name in bytes: what the 32 bytes kept of a connection show
/// of the name under any framing.
pub const PROBE_METHOD_MAX: usize = 20;
/// How many names can be configured.
pub const PROBE_METHODS: usize = 4;

/// Method names whose calls are health checks. The kernel gets it as a
/// read-only global or map value. All zero: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeMethods {
    /// Per name: up to 20 bytes from the low byte of word 0 on, zero-filled;
    /// the top byte of word 2 is the length, 0 for an unused place. Places are
    /// used from the front.
    names: [[u64; 3]; PROBE_METHODS],
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMethodError {
    /// Empty, or longer than [`PROBE_METHOD_MAX`] bytes.
    Length,
    /// Something besides ASCII letters, digits and `_ . : - /`.
    Character,
    /// All [`PROBE_METHODS`] places are taken.
    Full,
}

impl fmt::Display for ProbeMethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "a probe method has 1 to {PROBE_METHOD_MAX} characters"),
            Self::Character => f.write_str(
                "a probe method has only letters, digits and _ . : - / (service:method if multiplexed)",
            ),
            Self::Full => write!(f, "at most {PROBE_METHODS} probe methods"),
        }
    }
}

impl core::error::Error for ProbeMethodError {}

impl ProbeMethods {
    /// No names.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            names: [[0; 3]; PROBE_METHODS],
        }
    }

    /// Adds a name.
    ///
    /// # Errors
    /// When the name cannot be a method's, is too long, or there is no place.
    pub fn push(&mut self, name: &str) -> Result<(), ProbeMethodError> {
        let len = name.len();
        if len == 0 || len > PROBE_METHOD_MAX {
            return Err(ProbeMethodError::Length);
        }
        let window = Window::from(Chunk::of(name.as_bytes()));
        if !window.is_identifier(len as u32) {
            return Err(ProbeMethodError::Character);
        }
        let free = self.names.iter_mut().find(|place| place[2] == 0);
        *free.ok_or(ProbeMethodError::Full)? = key(&window, len as u32);
        Ok(())
    }

    /// True without any name.
    #[must_use]
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.names[0][2] == 0
    }

    /// True when the window starts with one of the names, `len` (1 to 20)
    /// bytes long.
    #[inline(always)]
    pub(super) fn contains(&self, window: &Window, len: u32) -> bool {
        let [a, b, c] = key(window, len);
        let mut found = false;
        for [x, y, z] in &self.names {
            found |= (a ^ x) | (b ^ y) | (c ^ z) == 0;
        }
        found
    }
}

#[inline(always)]
fn key(window: &Window, len: u32) -> [u64; 3] {
    let [a, b, c, _] = keep(&window.words, len);
    [a, b, c | (u64::from(len) << 56)]
}
