//! A failure on a terminal that has no room for all columns: the most telling ones in its
//! first line, the rest as a sentence below.

use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};

use super::line::{evidence, join, printable};
use crate::{human, report::Event, wrap};

/// Columns with their widths: 75 characters in all.
const COLUMNS: [(&str, usize); 5] = [
    ("TIME", 12),
    ("CLIENT", 21),
    ("PORT", 5),
    ("OUTCOME", 14),
    ("VERDICT", 19),
];
/// Between two columns.
const GAP: usize = 1;
const INDENT: usize = 4;

/// The names of the columns.
pub(super) fn headings() -> String {
    let names = COLUMNS.map(|(name, _)| name.to_owned());
    join(names, COLUMNS, GAP, Style::new())
}

/// A failure within `width` columns.
pub(super) fn text(event: &Event, width: usize) -> String {
    let client = event.client.to_string();
    let time = human::time(event.time);
    let is_long = client.chars().count() > COLUMNS[1].1;
    let cells = [
        time.get(11..23).unwrap_or("?").to_owned(),
        if is_long {
            cut(&client)
        } else {
            client.clone()
        },
        event.node_port.to_string(),
        printable(&event.outcome),
        event.verdict.as_str().to_owned(),
    ];
    let mut out = join(cells, COLUMNS, GAP, AnsiColor::Yellow.on_default());
    let from = is_long.then(|| format!("from {client}"));
    for line in wrap::lines(&rest(event, from), width.saturating_sub(INDENT).max(INDENT)) {
        out.push_str(&format!("\n{:INDENT$}{line}", ""));
    }
    out
}

/// What has no column.
fn rest(event: &Event, from: Option<String>) -> String {
    let mut parts = Vec::from_iter(from);
    let mut to = format!("to {}", SocketAddr::new(event.address, event.node_port));
    if let Some(interface) = &event.interface {
        to.push_str(&format!(" by {}", printable(interface)));
    }
    if let Some(service) = &event.service {
        to.push_str(&format!(", {}", printable(service)));
    }
    if let Some(backend) = event.backend {
        to.push_str(&format!(" -> {backend}"));
    }
    parts.push(to);
    let after = human::duration(event.latency);
    let by = printable(&event.answered_by);
    parts.push(format!("answered by {by} after {after}"));
    parts.extend(Some(printable(&evidence(event))).filter(|said| !said.is_empty()));
    parts.join("; ")
}

fn cut(text: &str) -> String {
    let kept = text.chars().take(COLUMNS[1].1 - 1);
    kept.chain(['…']).collect()
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
            service: Some("thrift/search:api".to_owned()),
            backend: Some("10.244.0.2:9092".parse().unwrap()),
            pod: Some("thrift/search-0".to_owned()),
            outcome: "refused".to_owned(),
            traffic: "unknown".to_owned(),
            answered_by: "backend_rst".to_owned(),
            verdict: Verdict::NothingListens,
            evidence: "RST to the client by the backend's stack: NO_SOCKET".to_owned(),
            latency: 0.000_2,
        }
    }

    fn plain(event: &Event, width: usize) -> String {
        anstream::adapter::strip_str(&text(event, width)).to_string()
    }

    #[test]
    fn all_is_told_within_eighty_columns() {
        assert_eq!(
            format!("{}\n{}", headings(), plain(&event(), 80)),
            "TIME         CLIENT                PORT  OUTCOME        VERDICT\n\
             22:13:20.500 10.0.1.9:40112        30102 refused        nothing_listens\n    \
             to 10.0.0.1:30102 by eth0, thrift/search:api -> 10.244.0.2:9092; answered by\n    \
             backend_rst after 0.2 ms; pod thrift/search-0; RST to the client by the\n    \
             backend's stack: NO_SOCKET"
        );
        let mut long = event();
        long.client = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535"
            .parse()
            .unwrap();
        long.outcome = "closed_at_once".to_owned();
        long.verdict = Verdict::BackendUnreachable;
        long.evidence = "x".repeat(500);
        let text = plain(&long, 80);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.contains("from [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535; to "));
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        let mut event = event();
        event.outcome = "a\nb".to_owned();
        event.interface = Some("\u{1b}[1m".to_owned());
        event.answered_by = "\u{1b}]0;x\u{7}".to_owned();
        event.evidence = "process \u{1b}[2J\u{9b}31m".to_owned();
        let text = plain(&event, 80);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
}
