//! The ports that no health check goes to, as the kernel programs read them.

use aya::maps::{Array, MapData, MapError};
use tracer_common::config::UNCHECKED_WORDS;

/// The map, and what was written to it.
pub struct Unchecked {
    map: Array<MapData, u64>,
    written: Vec<u64>,
}

impl Unchecked {
    pub fn new(map: Array<MapData, u64>) -> Self {
        let written = vec![0; UNCHECKED_WORDS as usize];
        Self { map, written }
    }

    /// Writes the words that change: a port's bit is never wrong in between.
    pub fn set(&mut self, ports: &[u16]) -> Result<(), MapError> {
        let words = words(ports);
        for (index, (new, old)) in (0..).zip(words.iter().zip(&mut self.written)) {
            if new != old {
                self.map.set(index, new, 0)?;
                *old = *new;
            }
        }
        Ok(())
    }
}

/// A bit per port, the lowest first.
fn words(ports: &[u16]) -> Vec<u64> {
    let mut words = vec![0; UNCHECKED_WORDS as usize];
    for port in ports {
        if let Some(word) = words.get_mut(usize::from(*port) / 64) {
            *word |= 1 << (port % 64);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_a_bit() {
        let words = words(&[0, 63, 64, 30_101, u16::MAX]);
        let is_set = |port: u16| words[usize::from(port) / 64] >> (port % 64) & 1 == 1;
        let set: Vec<u16> = (0..=u16::MAX).filter(|port| is_set(*port)).collect();
        assert_eq!(set, [0, 63, 64, 30_101, u16::MAX]);
    }
}
