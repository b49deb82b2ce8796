//! The detail of one port.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use tracer_common::words::{Outcome, Traffic};

use super::{
    draw::span,
    help::title,
    lines::{Lines, beside, small_table},
    look::{self, Look},
    model::{Model, is_failure},
    title::{clock, ways},
    ui::{Row, Ui},
};
use crate::{
    explain, human,
    report::{Event, STEP_S, TopBackend, TopClients, TopDetail},
};

/// Width from which on there are two columns.
const TWO: usize = 150;
/// The longest history.
const HISTORY: usize = 60;

/// All lines.
pub(super) fn lines(model: &Model, ui: &Ui, row: &Row<'_>, width: usize, look: Look) -> Lines {
    let port = row.port.node_port;
    let name = match &row.port.service {
        Some(service) => format!("Port {port}  {}", human::printable(service)),
        None => format!("Port {port}"),
    };
    let mut lines = vec![title(&name, width, look)];
    lines.extend(numbers(row, ui, width));
    let detail = model.top.as_ref().and_then(|top| top.detail.as_ref());
    let detail = detail.filter(|detail| detail.node_port == port);
    let half = if width >= TWO { width / 2 - 1 } else { width };
    let mut left = outcomes(model, port, half, look);
    match detail {
        Some(detail) => {
            left.extend(backends(detail, half, look));
            left.extend(clients(&detail.clients, half, look));
        }
        None => left.push(Line::styled("Asking for more …", look.faint())),
    }
    let right = why(model, port, half, look);
    if width >= TWO {
        lines.extend(beside(left, right, half));
    } else {
        // What matters most stands first.
        lines.extend(right);
        lines.extend(left);
    }
    if let Some(detail) = detail {
        lines.extend(failures(&detail.failures, width, look));
    }
    lines
}

/// The row in words.
fn numbers(row: &Row<'_>, ui: &Ui, width: usize) -> Lines {
    let counts = &row.counts;
    let mut text = format!(
        "{}, {}/s",
        human::counted(counts.attempts, "attempt"),
        human::rate(row.rate)
    );
    if counts.failed() > 0 {
        text.push_str(&format!(", failed: {}", ways(counts)));
    }
    let classes = Traffic::ALL.iter().filter(|t| counts.class(**t) > 0);
    let classes = classes.map(|t| {
        let count = human::count(counts.class(*t));
        format!("{count} {}", explain::label(t.as_str()))
    });
    let classes: Vec<String> = classes.collect();
    if !classes.is_empty() {
        text.push_str(&format!("; for {}", classes.join(", ")));
    }
    if counts.pending > 0 {
        text.push_str(&format!("; {} not decided", human::count(counts.pending)));
    }
    text.push_str(&format!("; {} open", human::count(counts.open)));
    let numbers = if ui.totals {
        &row.port.total
    } else {
        &row.port.recent
    };
    let again = numbers.retransmits.iter().filter(|(_, n)| **n > 0);
    let again = again.map(|(kind, n)| format!("{} {}", human::count(*n), human::printable(kind)));
    let again: Vec<String> = again.collect();
    if !again.is_empty() {
        text.push_str(&format!("; sent again: {}", again.join(", ")));
    }
    let wrapped = textwrap::wrap(&text, width.max(20));
    wrapped
        .into_iter()
        .map(|line| Line::raw(line.into_owned()))
        .collect()
}

/// Outcomes over time.
fn outcomes(model: &Model, port: u16, width: usize, look: Look) -> Lines {
    let steps = width.saturating_sub(28).clamp(8, HISTORY);
    let length = human::duration((steps as u64 * STEP_S) as f64);
    let mut lines = vec![title(&format!("Outcomes, last {length}"), width, look)];
    for outcome in Outcome::ALL {
        let counts = model.ended(Some(port), steps, |o| o == *outcome);
        let sum = counts
            .iter()
            .flatten()
            .fold(0u64, |a, b| a.saturating_add(*b));
        if sum == 0 {
            continue;
        }
        let style = if is_failure(*outcome) {
            look.bad()
        } else {
            look.good()
        };
        let label = explain::label(outcome.as_str()).into_owned();
        lines.push(Line::from(vec![
            Span::raw(format!("  {label:<12}")),
            span(look::spark(&counts), style),
            Span::raw(format!(" {:>6}", human::count(sum))),
        ]));
    }
    if lines.len() == 1 {
        lines.push(Line::styled("  none", look.faint()));
    }
    lines
}

/// The problems that `explain` finds.
fn why(model: &Model, port: u16, width: usize, look: Look) -> Lines {
    let Some((explanation, at)) = &model.explained else {
        let asked = Line::styled("  not asked yet", look.faint());
        return vec![title("Why", width, look), asked];
    };
    let window = human::duration(explanation.window_s.round());
    let text = format!("Why (last {window}, as of {})", clock(*at));
    let mut lines = vec![title(&text, width, look)];
    let its = explanation.verdicts.iter().filter(|f| f.node_port == port);
    for (at, finding) in its.enumerate() {
        let text = explain::finding(at + 1, finding, width);
        let text = anstream::adapter::strip_str(&text).to_string();
        for (at, line) in text.lines().skip(1).enumerate() {
            let style = match (at, line.trim_start().starts_with("next ")) {
                (0, _) => look.bad().patch(look.strong()),
                (_, true) => look.hint(),
                _ => Style::new(),
            };
            lines.push(Line::styled(line.to_owned(), style));
        }
    }
    if lines.len() == 1 {
        let ports = explanation.ports.iter().find(|p| p.node_port == port);
        let failed = ports.is_some_and(|p| {
            let failures = Outcome::ALL.iter().filter(|o| is_failure(**o));
            let mut counts = failures.filter_map(|o| p.outcomes.get(o.as_str()));
            counts.any(|count| *count > 0)
        });
        lines.push(if failed {
            Line::styled("  no cause was found for its failures", look.doubtful())
        } else {
            Line::styled("  no problem", look.good())
        });
    }
    lines
}

fn backends(detail: &TopDetail, width: usize, look: Look) -> Lines {
    let mut lines = vec![title("Backends", width, look)];
    if detail.backends.is_empty() {
        lines.push(Line::styled(
            "  NAT was not seen choosing any",
            look.faint(),
        ));
        return lines;
    }
    let row = |backend: &TopBackend| {
        let share = backend
            .attempts
            .filter(|n| *n > 0)
            .map(|n| human::share((backend.failed as f64 / n as f64).min(1.0)));
        let ways = backend.failures.iter();
        let ways = ways.map(|(word, n)| format!("{} {}", human::count(*n), explain::label(word)));
        let ways: Vec<String> = ways.collect();
        vec![
            backend
                .address
                .map_or("not known".to_owned(), |a| a.to_string()),
            backend
                .pod
                .as_deref()
                .map_or("-".into(), human::printable)
                .into_owned(),
            backend.attempts.map_or("-".to_owned(), human::count),
            human::count(backend.failed),
            share.unwrap_or("-".to_owned()),
            ways.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = detail.backends.iter().map(row).collect();
    let bad = |at: usize| detail.backends.get(at).is_some_and(|b| b.failed > 0);
    let headings = [
        "ADDRESS",
        "POD",
        "TRIED",
        "FAILED",
        "SHARE",
        "WHAT WENT WRONG",
    ];
    lines.extend(small_table(&headings, &[0, 1, 5], &rows, bad, look));
    lines
}

fn clients(clients: &TopClients, width: usize, look: Look) -> Lines {
    let known = human::count(clients.known.min(clients.attempts));
    let of = human::counted(clients.attempts, "attempt");
    let text = format!("Clients (of {known} of {of})");
    let mut lines = vec![title(&text, width, look)];
    if let Some(why) = &clients.absent {
        let why = human::printable(why);
        lines.push(Line::styled(format!("  not known: {why}"), look.doubtful()));
        return lines;
    }
    let rows = clients.top.iter().map(|client| {
        let every = client
            .every_s
            .map(|s| format!("every {}", human::duration(s)));
        vec![
            client.address.to_string(),
            human::count(client.attempts),
            human::count(client.failed),
            every.unwrap_or("-".to_owned()),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        lines.push(Line::styled("  none", look.faint()));
        return lines;
    }
    let bad = |at: usize| clients.top.get(at).is_some_and(|c| c.failed > 0);
    let headings = ["ADDRESS", "TRIED", "FAILED", "RHYTHM"];
    lines.extend(small_table(&headings, &[0, 3], &rows, bad, look));
    let listed = clients.top.len() as u64;
    if clients.addresses > listed {
        let more = human::count(clients.addresses - listed);
        lines.push(Line::styled(
            format!("  and {more} other addresses"),
            look.faint(),
        ));
    }
    lines
}

fn failures(events: &[Event], width: usize, look: Look) -> Lines {
    let mut lines = vec![title("Last failures", width, look)];
    if events.is_empty() {
        lines.push(Line::styled("  none is remembered", look.faint()));
        return lines;
    }
    let row = |event: &Event| {
        vec![
            clock(event.time),
            event.client.to_string(),
            event.backend.map_or("-".to_owned(), |b| b.to_string()),
            explain::label(&event.outcome).into_owned(),
            explain::label(&event.answered_by).into_owned(),
            event.verdict.as_str().to_owned(),
            human::duration(event.latency),
            human::printable(&event.evidence).into_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    let headings = [
        "TIME", "CLIENT", "BACKEND", "OUTCOME", "BY", "VERDICT", "AFTER", "EVIDENCE",
    ];
    lines.extend(small_table(
        &headings,
        &[0, 1, 2, 3, 4, 5, 7],
        &rows,
        |_| false,
        look,
    ));
    lines
}
