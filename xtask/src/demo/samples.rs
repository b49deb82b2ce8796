//! The samples of output in the README: made from a run, and held to the words of one.
//!
//! A sample is the block of text after a line `<!-- sample: NAME -->`. `cargo xtask demo
//! --readme` writes them; `cargo xtask test` runs the demo again and refuses words that
//! the program does not say any more. Numbers differ from run to run, and some words from
//! kernel to kernel: reasons of drops, what can be attached.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::{report::Report, stage::Stage, table};

/// Words that some runs have and others not: of attempts that are not decided at the end.
const NOW_AND_THEN: [&str; 3] = ["decided", "pending", "yet"];

/// A sample by its name in the README.
pub(super) struct Sample {
    name: &'static str,
    text: String,
}

/// Takes all samples from a running demo.
pub(super) fn take(stage: &Stage<'_>, report: &Report) -> Result<Vec<Sample>> {
    let seconds = report.seconds;
    let last = format!("{seconds}s");
    let explain = |more: &[&str]| stage.explain(seconds, more);
    let sample = |name, text: &str| Sample {
        name,
        text: text.trim_end().to_owned(),
    };
    Ok(vec![
        sample("demo", &table::summary(report)),
        sample("explain", before(&explain(&[])?, "\nNot visible from here")),
        sample(
            "explain one port",
            before(&explain(&["--port", "30102"])?, "\nNot visible from here"),
        ),
        sample(
            "top",
            &stage.ask(&["top", "-b", "-n", "1", "--last", &last])?,
        ),
        sample("events", &first_lines(&stage.ask(&["events"])?, 6)),
        sample("check", before(&stage.ask(&["check"])?, "\n\n")),
    ])
}

fn before<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).map_or(text, |(before, _)| before)
}

fn first_lines(text: &str, count: usize) -> String {
    Vec::from_iter(text.lines().take(count)).join("\n")
}

/// Where a sample stands in the README: from and to which byte.
fn place(readme: &str, name: &str) -> Result<(usize, usize)> {
    let marker = format!("<!-- sample: {name} -->\n```text\n");
    let start = readme.find(&marker);
    let start =
        start.with_context(|| format!("the README has no place for {name}"))? + marker.len();
    let length = readme.get(start..).and_then(|rest| rest.find("```"));
    let length = length.with_context(|| format!("the sample {name} has no end"))?;
    Ok((start, start + length))
}

/// The README with these samples.
pub(super) fn put(readme: &str, samples: &[Sample]) -> Result<String> {
    let mut text = readme.to_owned();
    for sample in samples {
        let (start, end) = place(&text, sample.name)?;
        text.replace_range(start..end, &format!("{}\n", sample.text));
    }
    Ok(text)
}

/// The series of the kernel that a text says it is of: `6.18`.
fn kernel(text: &str) -> Option<&str> {
    let release = text.split_once(", Linux ")?.1;
    let dots = release.match_indices('.').nth(1)?;
    release.get(..dots.0)
}

/// Whether the README's samples are of a kernel of the same series as these.
pub(super) fn comparable(readme: &str, samples: &[Sample]) -> Result<bool> {
    let (start, end) = place(readme, "explain")?;
    let written = kernel(readme.get(start..end).unwrap_or_default());
    let mut printed = samples.iter().filter(|sample| sample.name == "explain");
    Ok(printed.all(|sample| kernel(&sample.text) == written))
}

/// The words of the README's samples that these do not have, by sample.
pub(super) fn strange(readme: &str, samples: &[Sample]) -> Result<Vec<String>> {
    let mut strange = Vec::new();
    for sample in samples {
        let (start, end) = place(readme, sample.name)?;
        let printed = words(&sample.text);
        let written = words(readme.get(start..end).unwrap_or_default());
        let missing = written.difference(&printed);
        let missing = missing.filter(|word| !NOW_AND_THEN.contains(&word.as_str()));
        strange.extend(missing.map(|word| format!("{}: {word}", sample.name)));
    }
    Ok(strange)
}

/// The words of a text but for those with digits: numbers, addresses, names of machines.
/// What the line of the node and its kernel says is the machine's.
fn words(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with("node "));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let words = words.filter(|word| !word.is_empty());
    let words = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str =
        "Text.\n<!-- sample: top -->\n```text\n12 pod RST at 10.0.0.1\n```\nMore.\n";

    fn top(text: &str) -> [Sample; 1] {
        [Sample {
            name: "top",
            text: text.to_owned(),
        }]
    }

    #[test]
    fn a_sample_is_put_into_its_place() {
        let put = put(README, &top("7 backend_rst")).unwrap();
        assert_eq!(
            put,
            "Text.\n<!-- sample: top -->\n```text\n7 backend_rst\n```\nMore.\n"
        );
        assert!(super::put("no place", &top("")).is_err());
    }

    #[test]
    fn kernels_of_one_series_are_comparable() {
        assert_eq!(
            kernel("node vm, Linux 6.18.44-fc-v657, last 14 s"),
            Some("6.18")
        );
        assert_eq!(kernel("no node"), None);
        let readme = "<!-- sample: explain -->\n```text\nnode vm, Linux 6.18.44, last 9 s\n```\n";
        let of = |kernel: &str| {
            let text = format!("node n2, Linux {kernel}, last 15 s");
            comparable(
                readme,
                &[Sample {
                    name: "explain",
                    text,
                }],
            )
            .unwrap()
        };
        assert!(of("6.18.5") && !of("6.1.0-9"));
    }

    #[test]
    fn words_that_are_not_printed_any_more_are_strange() {
        assert!(
            strange(README, &top("9 pod RST at 10.9.9.9"))
                .unwrap()
                .is_empty()
        );
        let found = strange(README, &top("9 backend_rst at 10.9.9.9")).unwrap();
        assert_eq!(found, ["top: RST", "top: pod"]);
    }
}
