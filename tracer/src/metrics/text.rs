//! The text format 0.0.4, made from OpenMetrics 1.0: sample lines are the same
//! in both, only the lines that describe families differ.

use std::collections::HashSet;

/// Rewrites an OpenMetrics page as text format 0.0.4.
#[must_use]
pub(super) fn from_openmetrics(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + 1024);
    let counters = counters(page);
    let mut rest = page;
    while !rest.is_empty() {
        let samples = samples_end(rest);
        out.push_str(&rest[..samples]);
        rest = &rest[samples..];
        let end = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        descriptor(&rest[..end], &counters, &mut out);
        rest = &rest[end..];
    }
    out
}

/// Length of the run of sample lines at the start.
fn samples_end(text: &str) -> usize {
    if text.starts_with('#') {
        return 0;
    }
    text.find("\n#").map_or(text.len(), |newline| newline + 1)
}

/// Names of the counter families.
fn counters(page: &str) -> HashSet<&str> {
    let types = page.match_indices("# TYPE ").filter_map(|(at, key)| {
        let line = page[at + key.len()..].lines().next()?;
        line.strip_suffix(" counter")
    });
    types.collect()
}

/// `# EOF` and `# UNIT` do not exist in 0.0.4, a counter family is named like
/// its samples, an unknown type is called untyped, quotes are not escaped.
fn descriptor(line: &str, counters: &HashSet<&str>, out: &mut String) {
    let mut words = line.trim_end().splitn(4, ' ').skip(1);
    let (Some(key @ ("HELP" | "TYPE")), Some(name)) = (words.next(), words.next()) else {
        return;
    };
    let suffix = if counters.contains(name) {
        "_total"
    } else {
        ""
    };
    let text = words.next().unwrap_or_default();
    let text = match (key, text) {
        ("TYPE", "unknown") => "untyped",
        _ => text,
    };
    out.extend([
        "# ",
        key,
        " ",
        name,
        suffix,
        " ",
        &text.replace("\\\"", "\""),
        "\n",
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_in_0_0_4() {
        let page = "# HELP a_b Says \\\"a\\\".\n# TYPE a_b counter\na_b_total{x=\"# EOF\"} 1\n\
                    # HELP c Gauge.\n# TYPE c gauge\n# UNIT c seconds\nc 2.5\nc{d=\"e\"} 3\n\
                    # TYPE u unknown\nu 1\n# EOF\n";
        let text = "# HELP a_b_total Says \"a\".\n# TYPE a_b_total counter\na_b_total{x=\"# EOF\"} 1\n\
                    # HELP c Gauge.\n# TYPE c gauge\nc 2.5\nc{d=\"e\"} 3\n\
                    # TYPE u untyped\nu 1\n";
        assert_eq!(from_openmetrics(page), text);
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(from_openmetrics(""), "");
        assert_eq!(from_openmetrics("# EOF\n"), "");
    }
}
