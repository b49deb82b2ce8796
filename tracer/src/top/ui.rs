//! What the user has chosen, and the rows that follow from it.

use std::{cmp::Ordering, time::Duration};

use tracer_common::words::Outcome;

use super::{
    columns::Column,
    model::{Counts, Model, is_failure},
};
use crate::{human, report::TopPort, verdict::Finding};

/// Windows that `w` goes through.
pub(super) const WINDOWS: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
];

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(super) column: Column,
    /// The largest first.
    pub(super) down: bool,
}

impl Sort {
    /// The largest number, or the first name, first.
    pub(super) fn by(column: Column) -> Self {
        let down = !matches!(column, Column::Port | Column::Service | Column::Why);
        Self { column, down }
    }
}

/// What is shown below, or in place of, the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// Nothing.
    None,
    /// More of the selected port.
    Detail,
    /// The keys.
    Help,
}

/// The choices.
#[derive(Clone, Debug)]
pub(super) struct Ui {
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// The filter as it is being typed, and what it was before.
    pub(super) typing: Option<String>,
    pub(super) paused: bool,
    /// Counts since the start of the run, not of the window.
    pub(super) totals: bool,
    pub(super) window: Duration,
    pub(super) delay: Duration,
    pub(super) selected: Option<u16>,
    pub(super) pane: Pane,
    /// Columns after the first ones that are scrolled out.
    pub(super) skipped: usize,
    /// Lines of the pane that are scrolled out.
    pub(super) scrolled: usize,
    pub(super) colour: bool,
    /// The terminal shows no other characters.
    pub(super) ascii: bool,
}

impl Ui {
    pub(super) fn new(window: Duration, delay: Duration) -> Self {
        Self {
            sort: Sort::by(Column::Failed),
            filter: String::new(),
            typing: None,
            paused: false,
            totals: false,
            window,
            delay,
            selected: None,
            pane: Pane::None,
            skipped: 0,
            scrolled: 0,
            colour: true,
            ascii: false,
        }
    }

    /// The filter in force.
    pub(super) fn filter(&self) -> &str {
        self.typing.as_deref().unwrap_or(&self.filter)
    }
}

/// The length of a window in seconds, for people; whole seconds unless it is short.
pub(super) fn window(seconds: f64) -> String {
    human::duration(if seconds < 10.0 {
        seconds
    } else {
        seconds.round()
    })
}

/// A port as a row.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) port: &'a TopPort,
    pub(super) counts: Counts,
    /// Its largest problem.
    pub(super) why: Option<&'a Finding>,
    /// Attempts a second.
    pub(super) rate: f64,
}

/// The ports that pass the filter, in the order asked for.
pub(super) fn rows<'a>(model: &'a Model, ui: &Ui) -> Vec<Row<'a>> {
    let Some(top) = &model.top else {
        return Vec::new();
    };
    let seconds = if ui.totals {
        top.uptime_s
    } else {
        top.window_s
    };
    let all = top.ports.iter().map(|port| {
        let counts = Counts::of(port, ui.totals);
        Row {
            port,
            rate: counts.begun as f64 / seconds,
            counts,
            why: why(model, port.node_port),
        }
    });
    let words = ui.filter().to_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut rows: Vec<Row<'_>> = all.filter(|row| passes(row, &words)).collect();
    rows.sort_by(|a, b| order(a, b, ui.sort));
    rows
}

/// The largest problem of a port.
fn why(model: &Model, port: u16) -> Option<&Finding> {
    let (explanation, _) = model.explained.as_ref()?;
    let its = explanation.verdicts.iter().filter(|f| f.node_port == port);
    its.max_by_key(|f| (f.failed, f.connections))
}

/// Every word is in the port's number, its Service, its failed outcomes or its
/// verdict; `failing` is in all that fail.
fn passes(row: &Row<'_>, words: &[&str]) -> bool {
    let mut text = human::node_port(row.port.node_port).into_owned();
    let mut add = |word: &str| {
        text.push(' ');
        text.push_str(word);
    };
    if let Some(service) = &row.port.service {
        add(&human::printable(service).to_lowercase());
    }
    for outcome in Outcome::ALL.iter().filter(|o| is_failure(**o)) {
        if row.counts.outcome(*outcome) > 0 {
            add(outcome.as_str());
        }
    }
    if row.counts.failed() > 0 {
        add("failing");
    }
    if let Some(finding) = row.why {
        add(finding.verdict.as_str());
    }
    words.iter().all(|word| text.contains(word))
}

/// By the column; rows that it leaves equal by failures, attempts and port.
fn order(a: &Row<'_>, b: &Row<'_>, sort: Sort) -> Ordering {
    let by_column = sort.column.compare(a, b);
    let by_column = if sort.down {
        by_column.reverse()
    } else {
        by_column
    };
    by_column
        .then_with(|| b.counts.failed().cmp(&a.counts.failed()))
        .then_with(|| b.counts.attempts.cmp(&a.counts.attempts))
        .then_with(|| a.port.node_port.cmp(&b.port.node_port))
}
