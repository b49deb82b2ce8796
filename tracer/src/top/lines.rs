//! Small tables, and lines side by side.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{draw::span, look::Look};

pub(super) type Lines = Vec<Line<'static>>;

/// Columns as wide as their content; those named stand at the left.
pub(super) fn small_table(
    headings: &[&str],
    left: &[usize],
    rows: &[Vec<String>],
    bad: impl Fn(usize) -> bool,
    look: Look,
) -> Lines {
    let length = |text: &str| text.chars().count();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|t| length(t));
        cells
            .chain(headings.get(at).map(|h| length(h)))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut out = " ".to_owned();
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(width - length(cell).min(*width));
            let (before, after) = if left.contains(&at) {
                ("", &*blanks)
            } else {
                (&*blanks, "")
            };
            out.push_str(&format!(" {before}{cell}{after} "));
        }
        out.trim_end().to_owned()
    };
    let titles: Vec<String> = headings.iter().map(|h| (*h).to_owned()).collect();
    let mut lines = vec![Line::styled(line(&titles), look.faint())];
    for (at, row) in rows.iter().enumerate() {
        let style = if bad(at) { look.bad() } else { Style::new() };
        lines.push(Line::styled(line(row), style));
    }
    lines
}

/// Two columns of lines.
pub(super) fn beside(left: Lines, right: Lines, half: usize) -> Lines {
    let rows = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    (0..rows)
        .map(|_| {
            let mut spans = Vec::new();
            let mut taken = 0;
            if let Some(line) = left.next() {
                for piece in line.spans {
                    let room = half.saturating_sub(taken);
                    let text: String = piece.content.chars().take(room).collect();
                    taken += text.chars().count();
                    spans.push(span(text, line.style.patch(piece.style)));
                }
            }
            spans.push(Span::raw(" ".repeat(half + 2 - taken.min(half))));
            if let Some(line) = right.next() {
                let style = line.style;
                spans.extend(
                    line.spans
                        .into_iter()
                        .map(|s| span(s.content, style.patch(s.style))),
                );
            }
            Line::from(spans)
        })
        .collect()
}
