//! How long answers took, in fine cells: 16 to an octave, so that what is printed of them
//! is within 3.1 % of the truth from 8 µs to 69 s. The exported histogram has coarser
//! buckets ([`crate::counters::LATENCY_BOUNDS_NS`]), which lose nothing.

/// Binary digits of a latency in nanoseconds that tell the cells of an octave apart.
const DIGITS: u32 = 4;
/// The first octave begins at 2^13 ns, 8.192 µs; what is less is in cell 0.
const FIRST: u32 = 13;
/// The last octave ends at 2^36 ns, 68.7 s; what is more is in the last cell.
const END: u32 = 36;
/// How many cells there are.
pub const LATENCY_CELLS: usize = ((END - FIRST) << DIGITS) as usize + 2;
/// Elements of the kernel's table of them, which the daemon empties each second.
pub const LATENCIES: u32 = 4096;

/// Whose answers an element of that table counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LatencyKey {
    /// The row of cells that the attempt is counted in ([`crate::flow::Flow::row`]).
    pub row: u16,
    /// [`latency_cell`]
    pub cell: u16,
}

/// The cell of a latency in nanoseconds, below [`LATENCY_CELLS`].
#[must_use]
#[inline(always)]
pub const fn latency_cell(ns: u64) -> u16 {
    if ns >> FIRST == 0 {
        return 0;
    }
    if ns >> END != 0 {
        return LATENCY_CELLS as u16 - 1;
    }
    let octave = u64::BITS - 1 - ns.leading_zeros();
    let within = (ns >> (octave - DIGITS)) as u32 & ((1 << DIGITS) - 1);
    (1 + ((octave - FIRST) << DIGITS) + within) as u16
}

/// Nanoseconds that stand for a cell: none of its latencies differs from it by more than
/// a 33rd of itself. For the first and the last cell, the bound that they have.
#[must_use]
pub const fn latency_of(cell: u16) -> u64 {
    let last = LATENCY_CELLS as u16 - 1;
    if cell == 0 || cell >= last {
        return 1 << if cell == 0 { FIRST } else { END };
    }
    let (octave, within) = (
        (cell as u32 - 1) >> DIGITS,
        (cell as u64 - 1) & ((1 << DIGITS) - 1),
    );
    let lower = (1 << DIGITS) + within;
    // The harmonic mean of the bounds is as far from either in proportion.
    let doubled = (2 * lower * (lower + 1)) << (octave + FIRST - DIGITS);
    doubled / (2 * lower + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(ns: u64) -> u64 {
        latency_of(latency_cell(ns))
    }

    proptest! {
        #[test]
        fn what_is_shown_is_within_five_percent(ns in 10_000..60_000_000_000_u64) {
            let off = shown(ns).abs_diff(ns) as f64 / ns as f64;
            prop_assert!(off <= 0.032, "{ns} ns are shown as {} ns", shown(ns));
        }

        #[test]
        fn more_is_never_shown_as_less(octave in 0..64_u32, a: u64, b: u64) {
            let (a, b) = (a >> octave, b >> octave);
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(latency_cell(less) <= latency_cell(more));
            prop_assert!(usize::from(latency_cell(more)) < LATENCY_CELLS);
            prop_assert!(shown(less) <= shown(more));
        }
    }

    #[test]
    fn every_cell_stands_for_itself() {
        for cell in 1..LATENCY_CELLS as u16 {
            assert_eq!(latency_cell(latency_of(cell)), cell);
        }
        assert_eq!((latency_cell(0), latency_cell(8_191)), (0, 0));
        assert_eq!(latency_cell(u64::MAX), LATENCY_CELLS as u16 - 1);
    }

    #[test]
    fn a_retransmitted_syn_is_shown_as_it_was() {
        // 1 s and a round trip of 4 ms, of 4 µs.
        for ns in [1_004_000_000, 1_000_004_000] {
            assert!(
                (0.98..1.035).contains(&(shown(ns) as f64 / 1e9)),
                "{}",
                shown(ns)
            );
        }
    }
}
