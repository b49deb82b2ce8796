//! An answer for people. A pure function.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::answer::Answer;
use crate::{events, explain, human};

/// Node addresses that are named one by one.
const NAMED: usize = 5;

/// Writes the answer.
pub(super) fn render(answer: &Answer, files: usize, all: bool) -> String {
    let mut out = String::new();
    let bold = Style::new().bold();
    let _ = writeln!(out, "{bold}{}{bold:#}", title(answer, files));
    let _ = writeln!(out, "{}", nodes(answer));
    if !answer.encapsulated.is_empty() {
        let _ = writeln!(out, "{}", encapsulated(answer));
    }
    let yellow = AnsiColor::Yellow.on_default();
    for warning in &answer.warnings {
        let warning = human::printable(warning);
        let _ = writeln!(out, "{yellow}warning:{yellow:#} {warning}.");
    }
    if answer.inconclusive.is_some() {
        let _ = writeln!(out, "\nNo attempt at a watched port was read.");
        return out;
    }
    out.push('\n');
    out.push_str(&explain::body(&answer.explanation, all));
    failures(answer, &mut out);
    out
}

fn title(answer: &Answer, files: usize) -> String {
    let packets = human::counted(answer.packets, "packet");
    let files = human::counted(files as u64, "file");
    let window = human::duration(answer.explanation.window_s);
    let Some(from) = answer.from.map(human::time) else {
        return format!("{packets} in {files}");
    };
    format!("{packets} in {files}, {window} from {from}")
}

fn nodes(answer: &Answer) -> String {
    let named = answer.nodes.iter().take(NAMED).map(|node| {
        let syns = human::counted(node.syns, "SYN");
        format!("{} ({syns})", node.address)
    });
    let named: Vec<String> = named.collect();
    let more = answer.nodes.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let named = named.join(", ");
    match (answer.inferred, answer.nodes.len()) {
        (true, 0) => "node: no SYN to a watched port tells which side it is".to_owned(),
        (true, 1) => format!("node: {named}, inferred from SYNs to watched ports"),
        (true, _) => format!(
            "node: {named}{more}, inferred from SYNs to watched ports; if some are other hosts, \
             name this node's with --node-address"
        ),
        (false, 0) => "node: no SYN to a watched port of a --node-address".to_owned(),
        (false, _) => format!("node: {named}{more}, as given"),
    }
}

fn encapsulated(answer: &Answer) -> String {
    let kinds = answer.encapsulated.iter();
    let kinds =
        kinds.map(|kind| format!("{} ({})", kind.what, human::counted(kind.packets, "packet")));
    format!("decoded out of: {}", Vec::from_iter(kinds).join(", "))
}

fn failures(answer: &Answer, out: &mut String) {
    if answer.failures.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nFailures one by one:");
    let _ = writeln!(out, "{}", events::headings());
    for event in &answer.failures {
        let _ = writeln!(out, "{}", events::text(event));
    }
    if answer.failures_left_out > 0 {
        let more = answer.failures_left_out;
        let _ = writeln!(out, "and {more} more; --failures N lists as many");
    }
}
