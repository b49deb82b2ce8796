//! What is told of each problem.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anstyle::{AnsiColor, Style};

use super::{page::Page, words};
use crate::{
    human,
    verdict::{Finding, Verdict},
};

/// One problem by itself, within `width` columns.
pub(super) fn finding(number: usize, finding: &Finding, width: usize) -> String {
    let mut out = Page::of_screen(width);
    problem(&mut out, number, finding);
    out.text
}

/// A problem with its evidence and the next step.
pub(super) fn problem(out: &mut Page, number: usize, finding: &Finding) {
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
pub(super) fn more(out: &mut Page, others: &[Finding]) {
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
