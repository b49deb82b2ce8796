//! A table whose cells are lists: joined in one line where there is room, one
//! item below the other where there is not.

use anstyle::Style;

/// A row: its style, and its cells.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) style: Style,
    pub(super) cells: Vec<Vec<String>>,
}

/// How the cells are laid out.
#[derive(Clone)]
struct Layout {
    /// The columns whose items stand below each other.
    stacked: Vec<bool>,
    gap: usize,
}

const GAP: usize = 2;
const NARROW_GAP: usize = 1;

/// Lays out rows below their headings within `width` columns; `None`: any
/// width. When nothing else helps, the table is cut in two before column `cut`,
/// and the first `keys` columns lead both parts.
pub(super) fn render(
    headings: &[&str],
    rows: &[Row],
    width: Option<usize>,
    (keys, cut): (usize, usize),
) -> String {
    let all: Vec<usize> = (0..headings.len()).collect();
    let mut layout = Layout {
        stacked: vec![false; headings.len()],
        gap: GAP,
    };
    let total = |layout: &Layout| {
        let widths = widths(headings, rows, &all, layout);
        widths.iter().sum::<usize>() + layout.gap * widths.len().saturating_sub(1)
    };
    let fits = |layout: &Layout| width.is_none_or(|room| total(layout) <= room);
    while !fits(&layout) {
        // The column that gains most, until none gains anything.
        let flat = all.iter().filter(|&&column| !layout.stacked[column]);
        let stacked = flat.map(|&column| {
            let mut next = layout.clone();
            next.stacked[column] = true;
            next
        });
        match stacked.min_by_key(total) {
            Some(next) => layout = next,
            None if layout.gap == GAP => layout.gap = NARROW_GAP,
            None => {
                let second: Vec<usize> = (0..keys).chain(cut..headings.len()).collect();
                let first = lines(headings, rows, &all[..cut.min(all.len())], &layout);
                return format!("{first}\n{}", lines(headings, rows, &second, &layout));
            }
        }
    }
    lines(headings, rows, &all, &layout)
}

/// A cell as the lines that it takes.
fn cell(row: &Row, column: usize, layout: &Layout) -> Vec<String> {
    let items = row.cells.get(column).map_or(&[][..], Vec::as_slice);
    match (items, layout.stacked[column]) {
        ([], _) => vec!["-".to_owned()],
        (items, false) => vec![items.join(", ")],
        (items, true) => items.to_vec(),
    }
}

fn widths(headings: &[&str], rows: &[Row], columns: &[usize], layout: &Layout) -> Vec<usize> {
    let width = |&column: &usize| {
        let cells = rows.iter().flat_map(|row| cell(row, column, layout));
        let longest = cells.map(|text| text.chars().count()).max();
        longest.unwrap_or(0).max(headings[column].len())
    };
    columns.iter().map(width).collect()
}

fn lines(headings: &[&str], rows: &[Row], columns: &[usize], layout: &Layout) -> String {
    let widths = widths(headings, rows, columns, layout);
    let mut out = String::new();
    let names = columns.iter().map(|&column| headings[column]);
    line(&mut out, names, &widths, layout.gap, Style::new().bold());
    for row in rows {
        let cells: Vec<Vec<String>> = columns
            .iter()
            .map(|&column| cell(row, column, layout))
            .collect();
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let texts = cells.iter().map(|cell| cell.get(at).map_or("", |t| t));
            line(&mut out, texts, &widths, layout.gap, row.style);
        }
    }
    out
}

fn line<'a>(
    out: &mut String,
    texts: impl Iterator<Item = &'a str>,
    widths: &[usize],
    gap: usize,
    style: Style,
) {
    let mut text = String::new();
    for (cell, width) in texts.zip(widths) {
        let pad = width - cell.chars().count() + gap;
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', pad));
    }
    out.push_str(&format!("{style}{}{style:#}\n", text.trim_end()));
}
