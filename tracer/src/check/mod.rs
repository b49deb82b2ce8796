//! Output of `tracer check`.

mod capabilities;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use crate::{
    cli::Output,
    exit::{Exit, one_line},
    explain,
    kernel::{Checked, Loaded},
    privileges, report,
    snapshot::HookStatus,
    wrap,
};

const HEADINGS: [&str; 5] = ["HOOK", "NEED", "STATE", "MODE", "DETAIL"];
/// Columns that a wrapped text has at least.
const LEAST: usize = 12;
/// The column that is coloured.
const STATE: usize = 2;

/// What each hook and each capability can do here: tables, or a JSON object. Colours are always
/// in the table; the output stream takes them out where they do not belong.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn render(checked: &Checked, output: Output) -> Result<String, Exit> {
    let Checked { hooks, programs } = checked;
    Ok(match output {
        Output::Text => {
            let width = explain::width();
            let held = privileges::held();
            let privileges = capabilities::table(&held, privileges::available(), width);
            format!("{}\n{privileges}", table(hooks, width))
        }
        Output::Json => return report::json(&json(hooks, programs)),
    })
}

/// Whether `tracer run` can start with these hooks.
///
/// # Errors
/// [`crate::exit::Code::Unavailable`] with the first required hook that is
/// impossible, and why.
pub fn verdict(hooks: &[HookStatus]) -> Result<(), Exit> {
    match hooks.iter().find(|hook| hook.required() && !hook.attached) {
        None => Ok(()),
        Some(hook) => Err(Exit::unavailable(
            format!("required hook {}", hook.hook),
            &hook.detail,
        )),
    }
}

fn need(hook: &HookStatus) -> &'static str {
    if hook.required() {
        "required"
    } else {
        "optional"
    }
}

fn state(hook: &HookStatus) -> (&'static str, Style) {
    let (word, colour) = match (hook.attached, hook.required()) {
        (true, _) => ("ok", AnsiColor::Green),
        (false, true) => ("impossible", AnsiColor::Red),
        (false, false) => ("degraded", AnsiColor::Yellow),
    };
    (word, colour.on_default())
}

/// `width`: columns of the terminal, if there is one.
fn table(hooks: &[HookStatus], width: Option<usize>) -> String {
    let details: Vec<String> = hooks.iter().map(|hook| one_line(&hook.detail)).collect();
    let rows = hooks
        .iter()
        .zip(&details)
        .map(|(h, detail)| [h.hook, need(h), state(h).0, h.mode, detail]);
    let rows: Vec<[&str; 5]> = std::iter::once(HEADINGS).chain(rows).collect();
    let widths: [usize; 5] = std::array::from_fn(|i| {
        rows.iter()
            .map(|row| row[i].chars().count())
            .max()
            .unwrap_or(0)
    });
    let styles = std::iter::once(Style::new()).chain(hooks.iter().map(|hook| state(hook).1));
    let mut out = String::new();
    for (row, style) in rows.iter().zip(styles) {
        let mut line = String::new();
        let mut indent = 0;
        let [cells @ .., detail] = row;
        for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let pad = width - cell.chars().count() + 2;
            let style = if i == STATE { style } else { Style::new() };
            let _ = write!(line, "{style}{cell}{style:#}{:pad$}", "");
            indent += width + 2;
        }
        hanging(&mut out, &line, indent, detail, width);
    }
    out
}

/// Ends a line with a text, wrapped below itself from column `indent` on.
fn hanging(out: &mut String, line: &str, indent: usize, text: &str, width: Option<usize>) {
    let lines = match width {
        Some(width) => wrap::lines(text, width.saturating_sub(indent).max(LEAST)),
        None => vec![text.to_owned()],
    };
    for (at, text) in lines.iter().enumerate() {
        let line = match at {
            0 => format!("{line}{text}"),
            _ => format!("{:indent$}{text}", ""),
        };
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if lines.is_empty() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn json(hooks: &[HookStatus], programs: &[Loaded]) -> serde_json::Value {
    let rows = hooks.iter().map(|hook| {
        json!({
            "hook": hook.hook,
            "required": hook.required(),
            "possible": hook.attached,
            "mode": hook.mode,
            "detail": hook.detail,
        })
    });
    let programs = programs.iter().map(|program| {
        json!({
            "name": program.name,
            "verified_instructions": program.verified_instructions,
            "translated_bytes": program.translated_bytes,
            "jited_bytes": program.jited_bytes,
        })
    });
    json!({
        "ok": verdict(hooks).is_ok(),
        "hooks": rows.collect::<Vec<_>>(),
        "programs": programs.collect::<Vec<_>>(),
        "capabilities": capabilities::json(&privileges::held()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        exit::Code,
        snapshot::{SOCKET_STATE, WIRE},
    };

    fn hook(hook: &'static str, mode: &'static str, detail: &str) -> HookStatus {
        HookStatus {
            hook,
            mode,
            attached: mode != "none",
            detail: detail.to_owned(),
        }
    }

    fn checked(hooks: Vec<HookStatus>, programs: Vec<Loaded>) -> Checked {
        Checked { hooks, programs }
    }

    fn some() -> Vec<HookStatus> {
        vec![
            hook(WIRE, "tcx", "eth0"),
            hook(SOCKET_STATE, "tp_btf", ""),
            hook("kfree_skb", "none", "no drop reasons\n  before Linux 5.17"),
        ]
    }

    #[test]
    fn table_is_aligned() {
        let text = anstream::adapter::strip_str(&table(&some(), None)).to_string();
        assert_eq!(
            text,
            "HOOK                 NEED      STATE     MODE    DETAIL\n\
             wire                 required  ok        tcx     eth0\n\
             inet_sock_set_state  required  ok        tp_btf\n\
             kfree_skb            optional  degraded  none    no drop reasons before Linux 5.17\n"
        );
    }

    #[test]
    fn tables_fit_a_terminal() {
        let mut hooks = some();
        hooks[1].detail = "fentry: load: Operation not permitted; kprobe: no such file".into();
        let held = caps::CapsHashSet::new();
        let walls = privileges::available();
        for width in [64, 80, 120] {
            let tables =
                table(&hooks, Some(width)) + &capabilities::table(&held, walls, Some(width));
            let text = anstream::adapter::strip_str(&tables).to_string();
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{width}:\n{text}");
            let words = Vec::from_iter(text.split_whitespace()).join(" ");
            assert!(words.contains("FOR CAP_BPF"), "{text}");
        }
    }

    #[test]
    fn json_has_every_hook() {
        let programs = vec![Loaded {
            name: "set_state".to_owned(),
            verified_instructions: None,
            translated_bytes: Some(80),
            jited_bytes: 60,
        }];
        let text = render(&checked(some(), programs), Output::Json).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["ok"], &value["schema"]), (&true.into(), &1.into()));
        assert_eq!(value["hooks"][2]["hook"], "kfree_skb");
        assert_eq!(value["hooks"][2]["possible"], false);
        assert_eq!(value["hooks"][2]["required"], false);
        assert_eq!(value["programs"][0]["name"], "set_state");
        assert_eq!(value["programs"][0]["translated_bytes"], 80);
        assert!(value["programs"][0]["verified_instructions"].is_null());
    }

    #[test]
    fn only_required_hooks_stop_the_start() {
        assert_eq!(verdict(&some()), Ok(()));
        let without = [hook(WIRE, "none", "CAP_BPF missing")];
        let exit = verdict(&without).unwrap_err();
        assert_eq!(exit.code(), Code::Unavailable);
        assert_eq!(exit.to_string(), "required hook wire: CAP_BPF missing");
        let text = render(&checked(without.into(), Vec::new()), Output::Text).unwrap();
        assert!(text.contains("impossible"), "{text}");
    }
}
