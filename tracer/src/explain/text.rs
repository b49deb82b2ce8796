//! An explanation for people, as text. A pure function; styles are always in
//! the text, the output stream takes them out where they do not belong.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{
    page::Page,
    problems::{more, problem},
    rows, table,
};
use crate::{human, report::Explanation};

/// What is around an explanation.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Name of the node.
    pub(super) node: String,
    /// Name and release of its kernel.
    pub(super) kernel: String,
    /// The window that was asked for, in seconds.
    pub(super) asked_s: f64,
    /// Ports that were asked for; empty: all.
    pub(super) ports: Vec<u16>,
    /// Columns of the terminal; `None`: there is none, nothing is wrapped.
    pub(super) width: Option<usize>,
    /// Every port gets a row.
    pub(super) all: bool,
}

/// Problems that are told one by one, the largest first.
const PROBLEMS: usize = 20;

/// Writes an explanation.
pub(super) fn render(explanation: &Explanation, frame: &Frame) -> String {
    let mut out = Page::new(frame);
    header(&mut out, explanation, frame);
    out.text + &body(explanation, frame)
}

/// The same without its first line.
pub(super) fn body(explanation: &Explanation, frame: &Frame) -> String {
    let mut out = Page::new(frame);
    if rows::shown(explanation).is_empty() {
        nothing(&mut out, explanation, frame);
    } else {
        ports(&mut out, explanation, frame);
    }
    summary(&mut out, explanation);
    let most = if frame.all { usize::MAX } else { PROBLEMS };
    let told = explanation.verdicts.len().min(most);
    let (told, others) = explanation.verdicts.split_at(told);
    for (at, finding) in told.iter().enumerate() {
        problem(&mut out, at + 1, finding);
    }
    more(&mut out, others);
    rest(&mut out, explanation);
    out.text
}

fn header(out: &mut Page, explanation: &Explanation, frame: &Frame) {
    let window = human::duration(explanation.window_s);
    let mut text = format!("node {}, {}, last {window}", frame.node, frame.kernel);
    // Clocks and rounding are no reason to remark on it.
    if explanation.window_s < frame.asked_s * 0.95 - 1.0 {
        let asked = human::duration(frame.asked_s);
        let _ = write!(text, " (not {asked}: no more is remembered)");
    }
    out.say("", &text, Style::new().bold());
    out.gap();
}

/// No attempt was seen. That there was none, and where its packets stay, is said only
/// where each would have been seen.
fn nothing(out: &mut Page, explanation: &Explanation, frame: &Frame) {
    let sight = &explanation.sight;
    let none_came = sight.complete && sight.not_counted.is_empty();
    let which = match &frame.ports[..] {
        [] => "any watched port of this node".to_owned(),
        ports => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("port {}", ports.join(", "))
        }
    };
    let text = if none_came {
        format!("Nobody tried to connect to {which}.")
    } else {
        format!("No attempt to connect to {which} was seen.")
    };
    out.say("", &text, Style::new());
    if !none_came {
        return unseen(out, explanation);
    }
    let hint = "If a load balancer counts errors meanwhile, its packets do not reach this node: \
                look at security groups, network ACLs, and whether the node is registered as a \
                target.";
    out.say("", hint, Style::new());
}

/// What else was seen, and what cannot have been.
fn unseen(out: &mut Page, explanation: &Explanation) {
    let sight = &explanation.sight;
    for said in &sight.not_counted {
        out.say("- ", said, Style::new());
    }
    if sight.obstacles.is_empty() {
        return;
    }
    let doubt = "Whether there were any is not known, for the tap does not see all that comes in:";
    out.say("", doubt, AnsiColor::Yellow.on_default());
    for obstacle in &sight.obstacles {
        out.say("- ", obstacle, Style::new());
    }
}

fn ports(out: &mut Page, explanation: &Explanation, frame: &Frame) {
    let (rows, shared) = rows::rows(explanation, frame);
    let headings = rows::headings(rows::are_named(explanation));
    let cut = rows::cut(&headings);
    let table = table::render(&headings, &rows, frame.width, cut);
    out.text.push_str(&table);
    if shared > 0 {
        let sick = rows::shown(explanation);
        let sick = sick
            .iter()
            .filter(|(port, judged)| *judged || rows::failed(port) > 0);
        let sick = sick.count().saturating_sub(rows.len() - 1);
        let what = match sick {
            0 => "ports without a failure".to_owned(),
            sick => format!("other ports, {sick} of them with failures"),
        };
        let text = format!("+{shared}: {what}; --all gives each its own row.");
        out.say("", &text, Style::new());
    }
}

/// Sums over all ports.
#[derive(Default)]
struct Totals {
    attempts: u64,
    failed: u64,
    /// Without an outcome so far.
    open: u64,
    /// Never to have one.
    untracked: u64,
}

fn totals(explanation: &Explanation) -> Totals {
    let mut totals = Totals::default();
    for port in &explanation.ports {
        for (sum, part) in [
            (&mut totals.attempts, port.attempts),
            (&mut totals.failed, rows::failed(port)),
            (&mut totals.open, port.undecided),
            (&mut totals.untracked, port.untracked),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
    totals
}

fn summary(out: &mut Page, explanation: &Explanation) {
    let Totals {
        attempts,
        failed,
        open,
        untracked,
    } = totals(explanation);
    let mut of = format!("{failed} of {} failed", human::counted(attempts, "attempt"));
    for (count, what) in [(open, "not decided yet"), (untracked, "not followed")] {
        if count > 0 {
            let _ = write!(of, ", {count} {what}");
        }
    }
    let problems = explanation.verdicts.len() as u64;
    let (text, colour) = match (problems, failed) {
        (0, 0) if attempts == 0 => return,
        (0, 0) => {
            let ports = human::counted(rows::shown(explanation).len() as u64, "port");
            (format!("Healthy: {of} ({ports})."), AnsiColor::Green)
        }
        (0, _) => (format!("{of}, no cause was found."), AnsiColor::Yellow),
        (1, _) => (format!("{of}. One problem:"), AnsiColor::Red),
        (problems, _) => {
            let text = format!("{of}. {problems} problems, the largest first:");
            (text, AnsiColor::Red)
        }
    };
    out.gap();
    out.say("", &text, colour.on_default().bold());
}

fn rest(out: &mut Page, explanation: &Explanation) {
    let failed = totals(explanation).failed;
    let unexplained = explanation.unexplained;
    if failed > 0 || unexplained > 0 {
        let unexplained = human::counted(unexplained, "failed attempt");
        out.gap();
        out.say("Not explained: ", &format!("{unexplained}."), Style::new());
    }
    let sight = &explanation.sight;
    let unseen = sight.obstacles.iter().chain(&sight.not_counted);
    // Without an attempt it is said above.
    let is_empty = rows::shown(explanation).is_empty();
    let unseen = unseen.filter(|_| !is_empty);
    let items: Vec<&String> = unseen.chain(&explanation.not_visible).collect();
    if !items.is_empty() {
        out.gap();
        out.say("", "Not visible from here:", Style::new());
        for item in items {
            out.say("- ", item, Style::new());
        }
    }
}
