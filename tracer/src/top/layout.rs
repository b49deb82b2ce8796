//! Which columns fit, and how wide each is.

use super::{
    columns::{
        CANCELLED, CHECK, Column, Column as C, HISTORY, IDLE, OTHER, REFUSED, THRIFT, TIMED_OUT,
        UNACKED, UNKNOWN, UNREACHABLE, WIDE,
    },
    model::Counts,
    ui::Row,
};

/// Where there is not: what is most, and after it the parts. The number says
/// which column goes first when there is too little room.
const NARROW: [(C, u8); 24] = [
    (C::Port, 0),
    (C::Service, 2),
    (C::Attempts, 3),
    (C::Established, 6),
    (C::Failed, 0),
    (C::How, 4),
    (C::Why, 4),
    (C::Traffic, 5),
    (C::P50, 9),
    (C::P99, 8),
    (C::Retransmits, 10),
    (C::Open, 8),
    (C::History, 7),
    (C::HalfOpen, 11),
    (REFUSED, 12),
    (UNREACHABLE, 12),
    (TIMED_OUT, 12),
    (UNACKED, 12),
    (CANCELLED, 12),
    (THRIFT, 13),
    (CHECK, 13),
    (IDLE, 13),
    (OTHER, 13),
    (UNKNOWN, 13),
];

/// What is left of a long name before a column of this rank or less is left out.
const SERVICE: usize = 10;
const ESSENTIAL: u8 = 5;

/// The columns that stay when others are scrolled out.
const FIXED: usize = 2;

/// The columns that are shown, each with its width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) columns: Vec<(Column, usize)>,
    /// Blanks between two of them.
    pub(super) gap: usize,
    /// How many there are to the right.
    pub(super) more: usize,
}

/// The sum of all rows, and their attempts a second.
pub(super) fn all(rows: &[Row<'_>]) -> (Counts, f64) {
    let mut counts = Counts::default();
    for row in rows {
        counts.add(&row.counts);
    }
    (counts, rows.iter().map(|row| row.rate).sum())
}

/// Chooses the columns for `width` (`None`: as wide as it gets), when `skipped`
/// columns are scrolled out.
pub(super) fn layout(
    rows: &[Row<'_>],
    width: Option<usize>,
    skipped: usize,
    totals: bool,
) -> Layout {
    let empty = |column: &Column| match column {
        C::Service => rows.iter().all(|row| row.port.service.is_none()),
        C::Why => rows.iter().all(|row| row.why.is_none()),
        C::History => width.is_none(),
        _ => false,
    };
    let (sum, rate) = all(rows);
    let sized = |column: Column| {
        let (least, most) = column.widths();
        let texts = rows.iter().map(|row| column.text(row, totals));
        let texts = texts.chain([column.number(&sum, rate, totals)]);
        let longest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
        let heading = column.heading(totals).chars().count();
        (column, longest.clamp(least, most).max(heading))
    };
    let wide: Vec<(Column, usize)> = WIDE.into_iter().filter(|c| !empty(c)).map(sized).collect();
    let Some(width) = width else {
        return Layout {
            columns: wide,
            gap: 2,
            more: 0,
        };
    };
    let fits = |gap: &usize| skipped == 0 && needs(&wide, *gap) <= width;
    let (mut columns, gap, more) = match [2, 1].iter().find(|gap| fits(gap)) {
        Some(gap) => (wide, *gap, 0),
        None => {
            let all = NARROW.into_iter().filter(|(c, _)| !empty(c));
            let all = all.map(|(c, rank)| (sized(c), rank)).collect();
            let (columns, more) = narrow(all, width, skipped);
            let gap = if needs(&columns, 2) <= width { 2 } else { 1 };
            (columns, gap, more)
        }
    };
    let spare = width.saturating_sub(needs(&columns, gap));
    if let Some((_, history)) = columns.iter_mut().find(|(c, _)| *c == C::History) {
        *history = (*history + spare).min(HISTORY.1);
    }
    Layout { columns, gap, more }
}

/// Leaves out what is scrolled out, then the least important until the rest fits.
fn narrow(
    mut all: Vec<((Column, usize), u8)>,
    width: usize,
    skipped: usize,
) -> (Vec<(Column, usize)>, usize) {
    let fixed = all
        .iter()
        .filter(|((c, _), _)| matches!(c, C::Port | C::Service));
    let fixed = fixed.count().min(FIXED);
    let skipped = skipped.min(all.len().saturating_sub(fixed + 1));
    all.drain(fixed..fixed + skipped);
    if skipped > 0 {
        // Now the order counts alone: what comes first is what was asked for.
        for (at, (_, rank)) in all.iter_mut().enumerate() {
            *rank = u8::try_from(at).unwrap_or(u8::MAX);
        }
    }
    let before = all.len();
    drop_least(&mut all, width, ESSENTIAL);
    let name = squeeze(&mut all);
    drop_least(&mut all, width, 0);
    let more = before - all.len();
    let mut columns = plain(&all);
    let spare = width.saturating_sub(needs(&columns, 1));
    if let Some((_, service)) = columns.iter_mut().find(|(c, _)| *c == C::Service) {
        *service = name.min(*service + spare);
    }
    (columns, more)
}

fn plain(all: &[((Column, usize), u8)]) -> Vec<(Column, usize)> {
    all.iter().map(|(c, _)| *c).collect()
}

/// Leaves out the least important until the rest fits, but none whose rank is `kept` or
/// less.
fn drop_least(all: &mut Vec<((Column, usize), u8)>, width: usize, kept: u8) {
    while all.len() > 1 && needs(&plain(all), 1) > width {
        let last = all
            .iter()
            .enumerate()
            .filter(|(_, (_, rank))| *rank > kept || kept == 0)
            .max_by_key(|(at, (_, rank))| (*rank, *at));
        let Some((at, _)) = last else { break };
        all.remove(at);
    }
}

/// Makes names short, and returns how long they were.
fn squeeze(all: &mut [((Column, usize), u8)]) -> usize {
    let service = all.iter_mut().find(|((c, _), _)| *c == C::Service);
    service.map_or(0, |((_, width), _)| {
        let name = *width;
        *width = name.min(SERVICE);
        name
    })
}

fn needs(columns: &[(Column, usize)], gap: usize) -> usize {
    let widths = columns.iter().map(|(_, width)| width);
    widths.sum::<usize>() + gap * columns.len().saturating_sub(1)
}
