//! Styles and small pictures. What a style says, a character says too.

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};

/// The styles, with colours or without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colour: bool,
}

impl Look {
    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// A problem.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red)
    }

    /// What may be one.
    pub(super) fn doubtful(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// What is well.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What to do.
    pub(super) fn hint(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// What matters less.
    pub(super) fn faint(self) -> Style {
        self.coloured(Color::DarkGray)
    }

    /// What matters more.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A line across the screen.
    pub(super) fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Counts over time, each a character: the highest bar is the largest count, a
/// dot is none, a blank is not known.
pub(super) fn spark(counts: &[Option<u64>]) -> String {
    let largest = counts.iter().flatten().copied().max().unwrap_or(0);
    let bar = |count: &Option<u64>| match count {
        None => ' ',
        Some(0) => '·',
        Some(count) => {
            let level = (*count as f64 / largest as f64 * BARS.len() as f64).ceil() as usize;
            BARS[level.clamp(1, BARS.len()) - 1]
        }
    };
    counts.iter().map(bar).collect()
}

/// Replaces what a terminal without Unicode cannot show.
pub(super) fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if !symbol.is_ascii() {
            let plain = symbol.chars().next().map_or(' ', plain);
            cell.set_char(plain);
        }
    }
}

fn plain(c: char) -> char {
    const RAMP: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
    if let Some(level) = BARS.iter().position(|bar| *bar == c) {
        return RAMP[level];
    }
    match c {
        '·' => '.',
        'µ' => 'u',
        '…' => '~',
        '─' => '-',
        '│' => '|',
        '▲' => '^',
        '▼' => 'v',
        '→' => '>',
        '←' => '<',
        '↑' => '^',
        '↓' => 'v',
        '≥' => '>',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_is_the_largest_count() {
        let counts = [None, Some(0), Some(1), Some(4), Some(8), Some(u64::MAX)];
        assert_eq!(spark(&counts[..5]), " ·▁▄█");
        assert_eq!(spark(&counts).chars().last(), Some('█'));
        assert_eq!(spark(&[Some(0), Some(0)]), "··");
    }

    #[test]
    fn plain_terminals_get_plain_characters() {
        let mut buffer = Buffer::with_lines(["54 µs │ ▁▄█· … é"]);
        to_ascii(&mut buffer);
        assert_eq!(buffer, Buffer::with_lines(["54 us | _-#. ~ ?"]));
    }
}
