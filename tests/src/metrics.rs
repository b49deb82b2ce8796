//! Reading the Prometheus text format (0.0.4 and OpenMetrics 1.0).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    samples: BTreeMap<(String, Labels), f64>,
}

impl Metrics {
    /// Parses an exposition. Timestamps and exemplars are left out; a line that
    /// is no sample is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, labels, value) =
                sample(line).with_context(|| format!("not a sample: {line}"))?;
            samples.insert((name, labels), value);
        }
        Ok(Self { samples })
    }

    /// The series of `name` that has exactly these labels.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// The sum of the series of `name` that have at least these labels; 0 when
    /// there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|(_, value)| value).sum()
    }

    /// The series of `name` that have at least these labels.
    pub fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.samples
            .iter()
            .filter(move |((n, have), _)| {
                n == name
                    && labels
                        .iter()
                        .all(|(k, v)| have.get(*k).is_some_and(|h| h == v))
            })
            .map(|((_, have), value)| (have, *value))
    }

    /// The values that label `label` takes in the series of `name`.
    #[must_use]
    pub fn values_of(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.series(name, &[])
            .filter_map(|(labels, _)| labels.get(label).cloned())
            .collect()
    }

    /// All series: name, labels, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Labels, f64)> {
        self.samples
            .iter()
            .map(|((name, labels), value)| (name.as_str(), labels, *value))
    }

    /// The accounting identity: on every port, attempts are handshakes, pending
    /// and untracked ones. An error names the first port where that is not so.
    pub fn balanced(&self) -> Result<()> {
        let of = |name| self.by_port(name);
        let (handshakes, pending) = (
            of("tracer_handshakes_total"),
            of("tracer_handshakes_pending"),
        );
        let untracked = of("tracer_untracked_syns_total");
        for (port, attempts) in of("tracer_attempts_total") {
            let sum = |sums: &BTreeMap<&str, f64>| sums.get(port).copied().unwrap_or(0.0);
            let (handshakes, pending) = (sum(&handshakes), sum(&pending));
            let untracked = sum(&untracked);
            ensure!(
                attempts == handshakes + pending + untracked && pending >= 0.0,
                "{port}: {attempts} != {handshakes} + {pending} + {untracked}"
            );
        }
        Ok(())
    }

    /// The sums of the series of `name` by port.
    fn by_port<'a>(&'a self, name: &'a str) -> BTreeMap<&'a str, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.series(name, &[]) {
            let port = labels.get("node_port").map_or("", String::as_str);
            *sums.entry(port).or_default() += value;
        }
        sums
    }

    /// Series of counters and histograms that have gone, or gone down, since
    /// `before`: none, ever, while one daemon runs.
    #[must_use]
    pub fn fallen_since(&self, before: &Self) -> Vec<String> {
        let counts = |name: &str| {
            ["_total", "_bucket", "_count", "_sum"]
                .iter()
                .any(|end| name.ends_with(end))
        };
        let fallen = |(key, old): (&(String, Labels), &f64)| match self.samples.get(key) {
            Some(new) if new >= old => None,
            Some(new) => Some(format!("{key:?}: {old} -> {new}")),
            None => Some(format!("{key:?}: {old} -> gone")),
        };
        let counters = before.samples.iter().filter(|((name, _), _)| counts(name));
        counters.filter_map(fallen).collect()
    }

    /// The number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}

/// Labels up to the closing brace, and what follows it.
fn read_labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        rest = &after[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_escapes_and_exemplars() {
        let text =
            "# TYPE a counter\na_total{x=\"1\",y=\"q\\\"},\\n\"} 3 # {id=\"7\"} 1\nb 2.5\n# EOF\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(
            metrics.get("a_total", &[("y", "q\"},\n"), ("x", "1")]),
            Some(3.0)
        );
        assert_eq!(metrics.get("a_total", &[("x", "1")]), None);
        assert_eq!(metrics.sum("a_total", &[("x", "1")]), 3.0);
        assert_eq!(metrics.get("b", &[]), Some(2.5));
        assert!(Metrics::parse("nonsense").is_err());
    }

    #[test]
    fn the_identity_and_the_direction_of_counters_are_judged() {
        let text = |attempts: u32, pending: u32| {
            let text = format!(
                "tracer_attempts_total{{node_port=\"1\"}} {attempts}\n\
                 tracer_handshakes_total{{node_port=\"1\"}} 2\n\
                 tracer_handshakes_pending{{node_port=\"1\"}} {pending}\n"
            );
            Metrics::parse(&text).unwrap()
        };
        let (one, two) = (text(3, 1), text(2, 0));
        one.balanced().unwrap();
        two.balanced().unwrap();
        assert!(text(3, 0).balanced().is_err());
        assert_eq!(one.fallen_since(&two), Vec::<String>::new());
        assert_eq!(two.fallen_since(&one).len(), 1);
        assert_eq!(Metrics::default().fallen_since(&one).len(), 2);
    }
}
