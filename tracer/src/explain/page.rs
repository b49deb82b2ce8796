//! Paragraphs within the width of a terminal.

use std::fmt::Write as _;

use anstyle::Style;

use super::text::Frame;
use crate::{human, wrap};

/// Sentences are not wrapped wider or narrower.
const WIDTHS: (usize, usize) = (40, 110);

/// The text so far.
pub(super) struct Page {
    pub(super) text: String,
    width: Option<usize>,
    /// What is wider than it is lost.
    is_screen: bool,
}

impl Page {
    /// An empty one.
    pub(super) fn new(frame: &Frame) -> Self {
        Self {
            text: String::new(),
            width: frame.width.map(|width| width.clamp(WIDTHS.0, WIDTHS.1)),
            is_screen: false,
        }
    }

    /// An empty one of a screen that shows `width` columns.
    pub(super) fn of_screen(width: usize) -> Self {
        Self {
            text: String::new(),
            width: Some(width.clamp(WIDTHS.0, WIDTHS.1)),
            is_screen: true,
        }
    }

    /// A paragraph; `first` stands before its first line, as many blanks before
    /// the others.
    pub(super) fn say(&mut self, first: &str, text: &str, style: Style) {
        let text = human::printable(text);
        let indent = " ".repeat(first.chars().count());
        let lines = match self.width {
            Some(width) => {
                let room = width.saturating_sub(indent.len()).max(20);
                let lines = if self.is_screen {
                    wrap::all
                } else {
                    wrap::lines
                };
                lines(&text, room)
            }
            None => vec![text.into_owned()],
        };
        for (at, line) in lines.iter().enumerate() {
            let before = if at == 0 { first } else { &indent };
            let _ = writeln!(self.text, "{before}{style}{line}{style:#}");
        }
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }
}
