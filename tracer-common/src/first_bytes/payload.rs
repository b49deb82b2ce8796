//! A segment's payload, read in chunks of words.

/// Bytes read from a packet at once, and bytes kept of a connection.
pub const CHUNK: usize = 32;

/// The payload of one TCP segment: packet memory in the kernel, a slice in
/// userspace.
pub trait Payload {
    /// Payload bytes in the segment, whether they can be read or not.
    fn len(&self) -> u32;

    /// True without payload.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to [`CHUNK`] bytes from `offset`, of those that [`Payload::len`] counts;
    /// none when nothing is there or reading failed.
    fn read(&self, offset: u32) -> Chunk;

    /// True when bytes of it are missing for good, as in a capture with a short
    /// snaplen. Asked where they would have decided; never so in the kernel.
    #[inline(always)]
    fn is_cut(&self) -> bool {
        false
    }
}

/// Bytes of a payload, as the BPF verifier likes them: in words, without a loop.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Little-endian words: the first byte is the low byte of the first one.
    /// What follows the bytes known is zero.
    pub words: [u64; 4],
    /// Bytes known, at most [`CHUNK`].
    pub len: u32,
}

impl Chunk {
    /// No bytes.
    pub const EMPTY: Self = Self {
        words: [0; 4],
        len: 0,
    };

    /// The first bytes of a slice.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut chunk = Self::EMPTY;
        for (word, bytes) in chunk.words.iter_mut().zip(bytes.chunks(8)) {
            for (i, byte) in bytes.iter().enumerate() {
                *word |= u64::from(*byte) << (8 * i);
            }
            chunk.len += bytes.len() as u32;
        }
        chunk
    }
}

impl Payload for [u8] {
    #[inline(always)]
    fn len(&self) -> u32 {
        u32::try_from(<[u8]>::len(self)).unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn read(&self, offset: u32) -> Chunk {
        Chunk::of(self.get(offset as usize..).unwrap_or_default())
    }
}
