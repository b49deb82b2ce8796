//! The detail of one port.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use tracer_common::words::{Outcome, Traffic};

mod tables;

use super::{
    draw::span,
    help::title,
    lines::{Lines, beside},
    look::{self, Look},
    model::{Model, is_failure},
    title::{clock, ways},
    ui::{Row, Ui},
};
use crate::{explain, human, report::STEP_S};

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
    lines.extend(wrapped(&numbers(row, ui), width));
    if let Some(checks) = checks(model, port) {
        lines.extend(wrapped(&checks, width));
    }
    let detail = model.top.as_ref().and_then(|top| top.detail.as_ref());
    let detail = detail.filter(|detail| detail.node_port == port);
    let half = if width >= TWO { width / 2 - 1 } else { width };
    let mut left = outcomes(model, port, half, look);
    match detail {
        Some(detail) => {
            left.extend(tables::backends(detail, half, look));
            left.extend(tables::clients(&detail.clients, half, look));
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
        lines.extend(tables::failures(&detail.failures, width, look));
    }
    lines
}

fn wrapped(text: &str, width: usize) -> Lines {
    let lines = textwrap::wrap(text, width.max(20)).into_iter();
    lines.map(|line| Line::raw(line.into_owned())).collect()
}

/// Where the load balancer's health checks go, if that is known, a sentence.
fn checks(model: &Model, port: u16) -> Option<String> {
    let (explanation, _) = model.explained.as_ref()?;
    let row = explanation.ports.iter().find(|row| row.node_port == port)?;
    Some(match row.health_check_port? {
        checked if checked == port => {
            "The load balancer's health check goes to this port.".to_owned()
        }
        checked => format!(
            "The load balancer's health check goes to port {checked} only: what comes here and says \
             nothing is no check."
        ),
    })
}

/// The row in words.
fn numbers(row: &Row<'_>, ui: &Ui) -> String {
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
        format!("{count} {}", human::printable(t.as_str()))
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
    text
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
        let label = human::printable(outcome.as_str()).into_owned();
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
