//! Which hook works on which kernel in which mode, by what the tests in the guests saw.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use testbed::seen;

use super::guests::Seen;

/// Longest note below the table, in characters.
const NOTE: usize = 150;

/// Hook and mode.
type Row = (String, String);

/// What is known of one hook in one mode on one kernel.
#[derive(Debug, Default)]
struct Cell {
    /// Somebody had it attached.
    attached: bool,
    /// Tests that found its counts right.
    right: BTreeSet<String>,
    /// Why it is absent, or how it is attached.
    detail: String,
}

/// The table. Its display is empty where no guest ran.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    kernels: Vec<String>,
    /// In the order in which the daemon names hooks.
    hooks: Vec<String>,
    rows: BTreeMap<Row, Vec<Cell>>,
}

impl Matrix {
    pub(super) fn new(guests: &[Seen]) -> Self {
        let mut matrix = Self {
            kernels: guests.iter().map(|guest| guest.series.clone()).collect(),
            ..Self::default()
        };
        for (column, guest) in guests.iter().enumerate() {
            let mut last = Last::default();
            for line in &guest.lines {
                matrix.take(column, line, &mut last);
            }
        }
        matrix
    }

    fn take(&mut self, column: usize, line: &seen::Seen, last: &mut Last) {
        match line {
            seen::Seen::Hook(hook) => {
                if !self.hooks.contains(&hook.hook) {
                    self.hooks.push(hook.hook.clone());
                }
                let cell = self.cell(column, (hook.hook.clone(), hook.mode.clone()));
                cell.attached |= hook.attached;
                if !hook.detail.is_empty() {
                    cell.detail.clone_from(&hook.detail);
                }
                last.mode(hook);
            }
            seen::Seen::Right { test, hooks } => {
                for hook in hooks {
                    if let Some(mode) = last.of(test, hook) {
                        let cell = self.cell(column, (hook.clone(), mode));
                        cell.right.insert(test.clone());
                    }
                }
            }
            seen::Seen::Program { .. } => {}
        }
    }

    fn cell(&mut self, column: usize, row: Row) -> &mut Cell {
        let kernels = self.kernels.len();
        let cells = self.rows.entry(row).or_default();
        cells.resize_with(kernels.max(column + 1), Cell::default);
        &mut cells[column]
    }
}

/// The modes that each test's last daemon had.
#[derive(Default)]
struct Last(BTreeMap<(String, String), String>);

impl Last {
    fn mode(&mut self, hook: &seen::Hook) {
        // That a better mode is not there is said beside the mode that is.
        if hook.attached || hook.mode == "none" {
            let key = (hook.test.clone(), hook.hook.clone());
            self.0.insert(key, hook.mode.clone());
        }
    }

    fn of(&self, test: &str, hook: &str) -> Option<String> {
        self.0.get(&(test.to_owned(), hook.to_owned())).cloned()
    }
}

/// Distinct remarks, numbered in the order of their use.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, note: &str) -> usize {
        let known = self.0.iter().position(|known| known == note);
        known.unwrap_or_else(|| {
            self.0.push(note.to_owned());
            self.0.len() - 1
        }) + 1
    }
}

impl Cell {
    fn text(&self, notes: &mut Notes) -> String {
        let tests = self.right.len();
        let mut text = match (self.attached, tests) {
            (_, 1..) => format!("right {tests}"),
            (true, 0) => "attached".to_owned(),
            (false, 0) if self.detail.is_empty() => return "-".to_owned(),
            (false, 0) => "absent".to_owned(),
        };
        if !self.detail.is_empty() {
            text.push_str(&format!(" [{}]", notes.number(&self.detail)));
        }
        text
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut notes = Notes::default();
        let mut lines = vec![vec!["hook".to_owned(), "mode".to_owned()]];
        lines[0].extend(self.kernels.iter().cloned());
        let order = |row: &Row| self.hooks.iter().position(|hook| *hook == row.0);
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|(row, _)| order(row));
        for ((hook, mode), cells) in rows {
            let mut line = vec![hook.clone(), mode.clone()];
            line.extend(cells.iter().map(|cell| cell.text(&mut notes)));
            lines.push(line);
        }
        writeln!(f)?;
        table(f, &lines)?;
        writeln!(
            f,
            "\nright N: N tests found its counts right; attached: the kernel took it, no test counts on it; \
             -: not tried"
        )?;
        for (number, note) in (1..).zip(&notes.0) {
            let short: String = note.chars().take(NOTE).collect();
            let more = if short.len() < note.len() { "…" } else { "" };
            writeln!(f, "[{number}] {short}{more}")?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for line in lines {
        let cells = line.iter().enumerate();
        let text: String = cells
            .map(|(column, cell)| format!("{cell:0$}  ", width(column)))
            .collect();
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(test: &str, hook: &str, mode: &str, detail: &str) -> seen::Seen {
        seen::Seen::Hook(seen::Hook {
            test: test.to_owned(),
            hook: hook.to_owned(),
            mode: mode.to_owned(),
            attached: detail.is_empty(),
            detail: detail.to_owned(),
        })
    }

    fn right(test: &str, hooks: &[&str]) -> seen::Seen {
        seen::Seen::Right {
            test: test.to_owned(),
            hooks: hooks.iter().map(ToString::to_string).collect(),
        }
    }

    fn guest(series: &str, lines: Vec<seen::Seen>) -> Seen {
        Seen {
            series: series.to_owned(),
            lines,
        }
    }

    #[test]
    fn cells_are_what_the_guests_saw() {
        let old = vec![
            hook("t", "wire", "tcx", "no such attach type"),
            hook("t", "wire", "packet", ""),
            right("t", &["wire"]),
        ];
        let new = vec![
            hook("t", "wire", "tcx", ""),
            right("t", &["wire", "nothing"]),
            hook("u", "wire", "tcx", ""),
            right("u", &["wire"]),
            hook("u", "connect", "none", "no probes"),
        ];
        let text = Matrix::new(&[guest("5.10", old), guest("6.12", new)]).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines[1..5],
            [
                "hook     mode    5.10        6.12",
                "wire     packet  right 1     -",
                "wire     tcx     absent [1]  right 2",
                "connect  none    -           absent [2]",
            ]
        );
        assert_eq!(lines[7..], ["[1] no such attach type", "[2] no probes"]);
    }

    #[test]
    fn a_hook_that_no_test_counts_on_is_not_called_right() {
        let lines = vec![hook("t", "wire", "tcx", ""), right("another", &["wire"])];
        let text = Matrix::new(&[guest("6.12", lines)]).to_string();
        assert!(text.contains("wire  tcx   attached"), "{text}");
        assert_eq!(Matrix::default().to_string(), "");
    }
}
