//! A failure as a line for people.

use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};

use crate::{human, report::Event};

/// Columns with the width that most of their values need; what is longer moves
/// the rest of its line.
const COLUMNS: [(&str, usize); 11] = [
    ("TIME", 24),
    ("CLIENT", 21),
    ("DIALLED", 19),
    ("INTERFACE", 9),
    ("SERVICE", 20),
    ("BACKEND", 21),
    ("OUTCOME", 14),
    ("ANSWERED BY", 11),
    ("VERDICT", 19),
    ("AFTER", 7),
    ("EVIDENCE", 0),
];

/// Between two columns.
const GAP: usize = 2;

/// Columns of a terminal from which on all have room, but for long evidence.
pub(super) const WIDE: usize = 200;

/// The names of the columns.
#[must_use]
pub fn headings() -> String {
    let names = COLUMNS.map(|(name, _)| name.to_owned());
    join(names, COLUMNS, GAP, Style::new())
}

/// A failure, in columns.
#[must_use]
pub fn text(event: &Event) -> String {
    let word = printable;
    let columns = [
        human::time(event.time),
        event.client.to_string(),
        SocketAddr::new(event.address, event.node_port).to_string(),
        event.interface.as_deref().map_or("-".to_owned(), word),
        event.service.as_deref().map_or("-".to_owned(), word),
        event.backend.map_or("-".to_owned(), |b| b.to_string()),
        word(&event.outcome),
        word(&event.answered_by),
        event.verdict.as_str().to_owned(),
        human::duration(event.latency),
        word(&evidence(event)),
    ];
    join(columns, COLUMNS, GAP, AnsiColor::Yellow.on_default())
}

pub(super) fn printable(word: &str) -> String {
    human::printable(word).into_owned()
}

/// What the kernel noted, after the name of the pod that it is about.
pub(super) fn evidence(event: &Event) -> String {
    let pod = event.pod.as_ref().map(|pod| format!("pod {pod}"));
    let noted = Some(&event.evidence).filter(|noted| !noted.is_empty());
    let parts: Vec<&str> = pod.iter().chain(noted).map(String::as_str).collect();
    parts.join("; ")
}

/// Cells in columns of these names and widths, `gap` columns between them; the one named
/// OUTCOME in a style of its own.
pub(super) fn join<const N: usize>(
    cells: [String; N],
    columns: [(&str, usize); N],
    gap: usize,
    outcome: Style,
) -> String {
    let mut out = String::new();
    for (cell, (name, width)) in cells.iter().zip(columns) {
        let style = if name == "OUTCOME" {
            outcome
        } else {
            Style::new()
        };
        let pad = width.saturating_sub(cell.chars().count()) + gap;
        out.push_str(&format!("{style}{cell}{style:#}{:pad$}", ""));
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;

    fn event() -> Event {
        Event {
            time: 1_700_000_000.5,
            client: "10.0.1.9:40112".parse().unwrap(),
            address: "10.0.0.1".parse().unwrap(),
            interface: Some("eth0".to_owned()),
            node_port: 30_102,
            service: None,
            backend: None,
            pod: None,
            outcome: "refused".to_owned(),
            traffic: "unknown".to_owned(),
            answered_by: "backend_rst".to_owned(),
            verdict: Verdict::NothingListens,
            evidence: String::new(),
            latency: 0.000_2,
        }
    }

    fn plain(event: &Event) -> String {
        anstream::adapter::strip_str(&text(event)).to_string()
    }

    #[test]
    fn every_field_has_its_column() {
        let mut event = event();
        assert_eq!(
            plain(&event),
            "2023-11-14T22:13:20.500Z  10.0.1.9:40112         10.0.0.1:30102       eth0       -                     -        \
             \x20             refused         backend_rst  nothing_listens      0.2 ms"
        );
        event.backend = Some("[fd00::2]:9092".parse().unwrap());
        event.evidence = "RST from the pod: NO_SOCKET".to_owned();
        event.service = Some("thrift/search:api".to_owned());
        event.pod = Some("thrift/search-0".to_owned());
        let text = plain(&event);
        assert!(
            text.contains(
                "  10.0.0.1:30102       eth0       thrift/search:api     [fd00::2]:9092         refused  "
            ) && text.ends_with("  0.2 ms   pod thrift/search-0; RST from the pod: NO_SOCKET"),
            "{text}"
        );
    }

    #[test]
    fn headings_stand_above_their_columns() {
        let (headings, text) = (headings(), plain(&event()));
        for (name, value) in [
            ("DIALLED", "10.0.0.1:30102"),
            ("INTERFACE", "eth0"),
            ("VERDICT", "nothing_listens"),
        ] {
            assert_eq!(headings.find(name), text.find(value), "{name}");
        }
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        let mut event = event();
        event.outcome = "a\nb".to_owned();
        event.interface = Some("\u{1b}[1m".to_owned());
        event.answered_by = "\u{1b}]0;x\u{7}".to_owned();
        event.evidence = "process \u{1b}[2J\u{9b}31m".to_owned();
        let text = plain(&event);
        assert!(!text.chars().any(char::is_control), "{text}");
    }
}
