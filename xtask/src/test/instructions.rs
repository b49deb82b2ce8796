//! What the verifier of each kernel has to walk, beside what is on file: growth is to be seen in
//! review, long before a kernel refuses a program (at a million instructions).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use testbed::seen;

use super::guests::Seen;
use super::report::Outcome;
use crate::libtest::Counts;
use crate::workspace;

const FILE: &str = "docs/verified-instructions.tsv";
const HEADER: &str = "\
# What each kernel makes of each program: instructions that its verifier walked; on 5.10, which
# does not tell, the program's length after it, in instructions. Written by
# `cargo xtask test --only-vm --vm LIST --filter modes --accept-instructions`, compared by `cargo xtask test`.
";
/// Growth that is let pass: a tenth, since another point release of a kernel prunes a little
/// differently, and this many, so that small programs may change at all.
const ALWAYS: u64 = 100;

/// Counts by program and kernel series.
pub(super) type Table = BTreeMap<String, BTreeMap<String, u64>>;

/// What the guests measured.
pub(super) fn measured(guests: &[Seen]) -> Table {
    let mut table = Table::new();
    for guest in guests {
        for line in &guest.lines {
            if let seen::Seen::Program { name, instructions } = line {
                let row = table.entry(name.clone()).or_default();
                row.insert(guest.series.clone(), *instructions);
            }
        }
    }
    table
}

/// Compares with the file.
pub(super) fn compare(measured: &Table) -> Result<Outcome> {
    let text = fs::read_to_string(file()).with_context(|| file().display().to_string())?;
    let found = differences(&parse(&text)?, measured);
    for line in found.grown.iter().chain(&found.others) {
        eprintln!("  {line}");
    }
    if found.grown.is_empty() {
        return Ok(Outcome::Passed {
            counts: Counts::default(),
            note: format!("{} programs; {}", measured.len(), found.in_words()),
        });
    }
    let why = format!(
        "{}. If it has to be: cargo xtask test --only-vm --vm LIST --filter modes --accept-instructions",
        found.grown.join("; ")
    );
    Ok(Outcome::failed(Counts::default(), why))
}

/// Writes the file anew, with the other kernels' counts as they are.
pub(super) fn accept(measured: &Table) -> Result<Outcome> {
    let before = match fs::read_to_string(file()) {
        Ok(text) => parse(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Table::new(),
        Err(error) => return Err(error).with_context(|| file().display().to_string()),
    };
    fs::write(file(), render(&merged(before, measured)))?;
    Ok(Outcome::Passed {
        counts: Counts::default(),
        note: format!("written to {FILE}"),
    })
}

fn file() -> PathBuf {
    workspace::root().join(FILE)
}

/// A kernel that was measured has the programs that were measured, and no others.
fn merged(mut before: Table, measured: &Table) -> Table {
    let series: BTreeSet<&String> = measured.values().flat_map(BTreeMap::keys).collect();
    for row in before.values_mut() {
        row.retain(|known, _| !series.contains(known));
    }
    for (program, row) in measured {
        let counts = row.iter().map(|(series, count)| (series.clone(), *count));
        before.entry(program.clone()).or_default().extend(counts);
    }
    before.retain(|_, row| !row.is_empty());
    before
}

#[derive(Debug, Default)]
struct Differences {
    grown: Vec<String>,
    /// What only deserves to be known.
    others: Vec<String>,
}

impl Differences {
    fn in_words(&self) -> String {
        match self.others.len() {
            0 => format!("none grew, by {FILE}"),
            count => format!("none grew; {count} not as in {FILE}: --accept-instructions"),
        }
    }
}

fn differences(known: &Table, measured: &Table) -> Differences {
    let mut found = Differences::default();
    for (program, row) in measured {
        for (series, new) in row {
            let old = known.get(program).and_then(|row| row.get(series));
            match old {
                None => found
                    .others
                    .push(format!("{program} on {series} is new: {new} instructions")),
                Some(old) if *new > old + margin(*old) => found.grown.push(format!(
                    "{program} on {series} grew from {old} to {new} instructions"
                )),
                Some(old) if *new + margin(*old) < *old => found.others.push(format!(
                    "{program} on {series} shrank from {old} to {new} instructions"
                )),
                Some(_) => {}
            }
        }
    }
    found
}

fn margin(count: u64) -> u64 {
    (count / 10).max(ALWAYS)
}

fn parse(text: &str) -> Result<Table> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let head = lines.next().context("no line of kernels")?;
    let series: Vec<&str> = head.split('\t').skip(1).collect();
    let mut table = Table::new();
    for line in lines {
        let mut cells = line.split('\t');
        let program = cells.next().unwrap_or_default();
        let row = table.entry(program.to_owned()).or_default();
        for (series, cell) in series.iter().zip(cells) {
            if cell == "-" {
                continue;
            }
            let Ok(count) = cell.parse() else {
                bail!("{FILE}: {program} on {series}: no number: {cell}");
            };
            row.insert((*series).to_owned(), count);
        }
    }
    Ok(table)
}

fn render(table: &Table) -> String {
    let present: BTreeSet<&str> = table
        .values()
        .flat_map(|row| row.keys())
        .map(String::as_str)
        .collect();
    let names = crate::vm::series_names();
    let series: Vec<&str> = names
        .into_iter()
        .filter(|name| present.contains(name))
        .collect();
    let mut text = format!("{HEADER}program\t{}\n", series.join("\t"));
    for (program, row) in table {
        let cell = |name: &&str| row.get(*name).map_or("-".to_owned(), u64::to_string);
        let cells: Vec<String> = series.iter().map(cell).collect();
        let _ = writeln!(text, "{program}\t{}", cells.join("\t"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str, u64)]) -> Table {
        let mut table = Table::new();
        for (program, series, count) in rows {
            let row = table.entry((*program).to_owned()).or_default();
            row.insert((*series).to_owned(), *count);
        }
        table
    }

    #[test]
    fn what_is_written_is_read() {
        let all = table(&[("a", "5.10", 7), ("a", "6.12", 9), ("b", "6.12", 1)]);
        let text = render(&all);
        assert!(
            text.ends_with("program\t5.10\t6.12\na\t7\t9\nb\t-\t1\n"),
            "{text}"
        );
        assert_eq!(parse(&text).unwrap(), all);
        assert!(parse("program\t5.10\na\tx\n").is_err());
    }

    #[test]
    fn growth_beyond_the_margin_is_named() {
        let known = table(&[("large", "6.12", 10_000), ("small", "6.12", 20)]);
        let same = |large, small| {
            let new = table(&[("large", "6.12", large), ("small", "6.12", small)]);
            differences(&known, &new)
        };
        assert!(same(11_000, 120).grown.is_empty());
        assert_eq!(
            same(11_001, 121).grown,
            [
                "large on 6.12 grew from 10000 to 11001 instructions",
                "small on 6.12 grew from 20 to 121 instructions",
            ]
        );
        let less = same(8_999, 20);
        assert!(less.grown.is_empty() && less.others.len() == 1, "{less:?}");
    }

    #[test]
    fn new_programs_and_kernels_are_no_growth() {
        let known = table(&[("a", "6.12", 1)]);
        let new = table(&[("a", "6.18", 5_000), ("b", "6.12", 5_000)]);
        let found = differences(&known, &new);
        assert!(found.grown.is_empty() && found.others.len() == 2);
    }

    #[test]
    fn accepting_leaves_other_kernels_alone() {
        let before = table(&[("a", "5.10", 1), ("a", "6.12", 1), ("gone", "6.12", 1)]);
        let after = merged(before, &table(&[("a", "6.12", 2), ("b", "6.12", 3)]));
        let expected = table(&[("a", "5.10", 1), ("a", "6.12", 2), ("b", "6.12", 3)]);
        assert_eq!(after, expected);
    }
}
