//! A stream of bytes as a window that moves over it, with bounded memory.

use std::io::{self, ErrorKind, Read};

/// Bytes asked of the stream at once.
const CHUNK: usize = 256 * 1024;
/// Longest record that is read: far above what any capture tool writes
/// (libpcap takes at most 256 KiB of a packet).
pub(crate) const LONGEST: usize = 16 * 1024 * 1024;

/// The window.
pub(crate) struct Window {
    reader: Box<dyn Read>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that the window has passed.
    passed: u64,
    ended: bool,
    error: Option<io::Error>,
}

impl Window {
    pub(crate) fn new(reader: Box<dyn Read>) -> Self {
        Self {
            reader,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            passed: 0,
            ended: false,
            error: None,
        }
    }

    /// Brings the next `size` bytes into the window; false when the stream ends
    /// before, or when that is more than [`LONGEST`].
    pub(crate) fn fill(&mut self, size: usize) -> bool {
        if self.end - self.start >= size {
            return true;
        }
        if size > LONGEST {
            return false;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        while self.end < size && !self.ended {
            self.read();
        }
        self.end >= size
    }

    fn read(&mut self) {
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.reader.read(room) {
            Ok(0) => self.ended = true,
            Ok(n) => self.end = (self.end + n).min(self.buffer.len()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // What came before it is looked at first.
            Err(e) => {
                self.error = Some(e);
                self.ended = true;
            }
        }
    }

    /// What is in the window: at least what [`Window::fill`] brought in.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Moves on.
    pub(crate) fn pass(&mut self, size: usize) {
        let size = size.min(self.end - self.start);
        self.start += size;
        self.passed += size as u64;
    }

    /// Moves on and gives what it passed.
    pub(crate) fn take(&mut self, size: usize) -> &[u8] {
        let from = self.start;
        self.pass(size);
        self.buffer.get(from..self.start).unwrap_or_default()
    }

    /// Where the window stands: bytes from the stream's beginning.
    pub(crate) fn position(&self) -> u64 {
        self.passed
    }

    /// Why the stream ended, should that have been an error.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one by one, and fails in the end.
    struct Slow(Vec<u8>);

    impl Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("broken pipe"));
            }
            let first = &[self.0.remove(0)][..];
            (&*first).read(out)
        }
    }

    #[test]
    fn bytes_are_there_before_the_error() {
        let mut window = Window::new(Box::new(Slow(vec![1, 2, 3])));
        assert!(window.fill(2));
        window.pass(1);
        assert!(window.fill(2));
        assert_eq!(window.bytes(), [2, 3]);
        assert!(!window.fill(3));
        assert_eq!(window.bytes(), [2, 3]);
        assert_eq!(window.position(), 1);
        assert_eq!(window.take_error().unwrap().to_string(), "broken pipe");
    }

    #[test]
    fn no_length_makes_it_take_more_memory_than_the_limit() {
        let mut window = Window::new(Box::new(io::repeat(0)));
        assert!(!window.fill(usize::MAX));
        assert!(window.fill(LONGEST));
    }
}
