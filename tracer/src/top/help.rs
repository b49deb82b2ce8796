//! The pane of keys.

use ratatui::text::{Line, Span};

use super::{draw::span, look::Look};

const KEYS: [(&str, &str); 15] = [
    (
        "↑ ↓  k j",
        "move the cursor; page up/down, home/end (g, G) too",
    ),
    ("← →", "more columns, when not all of them fit"),
    ("enter", "detail of the port under the cursor, and back"),
    (
        "/",
        "filter: every word must be in the port, Service, failed outcome or verdict;",
    ),
    ("", "`failing` shows all ports that fail"),
    ("s  S", "sort by the next column; turn the order round"),
    (
        "d",
        "counts of the window, or totals since the daemon's start",
    ),
    ("w", "length of the window: 10 s, 1, 5 or 15 min"),
    ("space", "pause, and go on"),
    ("pgup pgdn", "scroll the detail"),
    ("?  h", "these keys"),
    ("esc", "back: closes a pane, clears the filter, quits"),
    ("q  ^C", "quit"),
    ("^Z", "to the shell; `fg` comes back"),
    ("^L", "draw anew"),
];

const SIGNS: [(&str, &str); 10] = [
    (
        "!  ?",
        "the port has a problem with a name; failures without one",
    ),
    (
        "TRY/S",
        "attempts begun a second; TRIED with totals: attempts",
    ),
    (
        "ESTAB HALF",
        "established; half_open: the node answered, the client hung up (a check)",
    ),
    (
        "FAILED HOW",
        "failed attempts, and the most frequent way; the columns beside it: each way",
    ),
    (
        "WHY",
        "what `tracer explain` says of it, the largest problem; asked every 10 s",
    ),
    (
        "TRAFFIC",
        "what most attempts were for; THRIFT to UNKNOWN: each class (CHECK: health_check)",
    ),
    ("P50 P99", "time from the SYN to the first answer"),
    ("RETR", "retransmissions: SYN, SYN-ACK and data"),
    ("OPEN", "connections that are open now"),
    (
        "FAILURES",
        "failed attempts, 5 s a character; a dot is none, a blank is not known",
    ),
];

/// The lines of the pane.
pub(super) fn lines(width: usize, look: Look) -> Vec<Line<'static>> {
    let mut lines = vec![title("Keys", width, look)];
    let pair = |(key, what): (&str, &str)| {
        Line::from(vec![
            span(format!("  {key:<12}"), look.strong()),
            Span::raw(what.to_owned()),
        ])
    };
    lines.extend(KEYS.map(pair));
    lines.push(Line::raw(""));
    lines.push(title("Columns", width, look));
    lines.extend(SIGNS.map(pair));
    lines
}

/// A heading with a rule to the right edge.
pub(super) fn title(text: &str, width: usize, look: Look) -> Line<'static> {
    let rule = width.saturating_sub(text.chars().count() + 4);
    Line::from(vec![
        span("─ ", look.faint()),
        span(text.to_owned(), look.strong()),
        span(format!(" {}", "─".repeat(rule)), look.faint()),
    ])
}
