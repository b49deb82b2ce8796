//! An explanation for people, as text. A pure function; styles are always in
//! the text, the output stream takes them out where they do not belong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anstyle::{AnsiColor, Style};

use super::{rows, table, words};
use crate::{
    human,
    report::Explanation,
    verdict::{Finding, Verdict},
    wrap,
};

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
/// Sentences are not wrapped wider or narrower.
const WIDTHS: (usize, usize) = (40, 110);

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

/// The text so far.
struct Page {
    text: String,
    width: Option<usize>,
    /// What is wider than it is lost.
    is_screen: bool,
}

impl Page {
    fn new(frame: &Frame) -> Self {
        Self {
            text: String::new(),
            width: frame.width.map(|width| width.clamp(WIDTHS.0, WIDTHS.1)),
            is_screen: false,
        }
    }

    /// A paragraph; `first` stands before its first line, as many blanks before
    /// the others.
    fn say(&mut self, first: &str, text: &str, style: Style) {
        let text = human::printable(text);
        let indent = " ".repeat(first.chars().count());
        let lines = match self.width {
            Some(width) => {
                let room = width.saturating_sub(indent.len()).max(20);
                let lines = if self.is_screen {
                    wrap::all
                } else {
                    wrap::lines
                };
                lines(&text, room)
            }
            None => vec![text.into_owned()],
        };
        for (at, line) in lines.iter().enumerate() {
            let before = if at == 0 { first } else { &indent };
            let _ = writeln!(self.text, "{before}{style}{line}{style:#}");
        }
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }
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

/// One problem by itself, within `width` columns.
pub(super) fn finding(number: usize, finding: &Finding, width: usize) -> String {
    let mut out = Page {
        text: String::new(),
        width: Some(width.clamp(WIDTHS.0, WIDTHS.1)),
        is_screen: true,
    };
    problem(&mut out, number, finding);
    out.text
}

fn problem(out: &mut Page, number: usize, finding: &Finding) {
    out.gap();
    let cause = words::verdict(finding.verdict);
    let title = format!("Port {}{}: {cause}", finding.node_port, places(finding));
    let title = match finding.scope.title() {
        Some(scope) => format!("{title} ({scope})"),
        None => title,
    };
    let number = format!("{number}. ");
    out.say(&number, &title, Style::new().bold());
    let indent = " ".repeat(number.len());
    out.say(&indent, &weight(finding), Style::new());
    for (at, sentence) in finding.evidence.iter().enumerate() {
        let label = if at == 0 { "why" } else { "" };
        out.say(&format!("{indent}{label:<6}"), sentence, Style::new());
    }
    let next = AnsiColor::Cyan.on_default();
    out.say(&format!("{indent}{:<6}", "next"), &finding.next, next);
}

/// Problems beyond the largest, by cause.
fn more(out: &mut Page, others: &[Finding]) {
    if others.is_empty() {
        return;
    }
    let mut causes: BTreeMap<Verdict, (BTreeSet<u16>, u64)> = BTreeMap::new();
    for finding in others {
        let (ports, failed) = causes.entry(finding.verdict).or_default();
        ports.insert(finding.node_port);
        *failed = failed.saturating_add(finding.failed);
    }
    let causes = causes.into_iter().map(|(verdict, (ports, failed))| {
        let failed = human::counted(failed, "failed attempt");
        let ports = human::counted(ports.len() as u64, "port");
        format!("{verdict} at {ports} ({failed})")
    });
    let causes = Vec::from_iter(causes).join(", ");
    let problems = human::counted(others.len() as u64, "more problem");
    out.gap();
    out.say(
        "",
        &format!("{problems}, none of them larger: {causes}."),
        Style::new(),
    );
    let hint = "A few attempts at each of very many ports are a port scan. --all tells each \
                problem, --port those of one port.";
    out.say("", hint, Style::new());
}

/// The Service, and where NAT sent its attempts: ` thrift/users:api -> 10.0.0.7:9092
/// (pod thrift/users-0)`.
fn places(finding: &Finding) -> String {
    let mut text = String::new();
    if let Some(service) = &finding.service {
        let _ = write!(text, " {service}");
    }
    if let Some(backend) = finding.backend {
        let _ = write!(text, " -> {backend}");
    }
    if let Some(pod) = &finding.pod {
        let _ = write!(text, " (pod {pod})");
    }
    text
}

/// Name, certainty and share of a problem.
fn weight(finding: &Finding) -> String {
    let name = finding.verdict.as_str();
    let certainty = words::certainty(finding.certainty);
    let mut text = format!("{name}, {certainty}");
    if finding.failed > 0 || finding.connections == 0 {
        let failed = human::counted(finding.failed, "failed attempt");
        let share = human::share(finding.share);
        let _ = write!(text, "; {failed}, {share} of all on this node");
    }
    let lost = finding.connections.saturating_sub(finding.late);
    if lost > 0 {
        let connections = human::counted(lost, "connection");
        let _ = write!(
            text,
            "; {connections} made that came to nothing (no load balancer counts these as refused)"
        );
    }
    if finding.late > 0 {
        let connections = human::counted(finding.late, "connection");
        let _ = write!(
            text,
            "; {connections} established only once the SYN was sent again"
        );
    }
    text
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
