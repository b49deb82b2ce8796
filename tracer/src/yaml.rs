//! Reading the YAML files that people write.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

/// How alike a wrong key and a right one have to be for a hint, 0 to 1; as for flags.
const ALIKE: f64 = 0.7;

/// What a text says; of blank lines and comments alone, nothing.
///
/// # Errors
/// What is wrong, with the key, the line and the column.
pub fn parse<T: DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    let blank = |line: &str| matches!(line.trim().as_bytes(), [] | [b'#', ..] | b"---");
    if text.lines().all(blank) {
        return Ok(T::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| told(text, &e))
}

fn told(text: &str, error: &Error) -> String {
    let error = error.without_snippet();
    let place = error.location().map(|at| (at.line(), at.column()));
    if let Error::SerdeUnknownField {
        field, expected, ..
    } = error
        && let (Some(near), Some((line, column))) = (nearest(field, expected), place)
    {
        // Not the list of all that there is.
        return format!(
            "unknown field `{field}` at line {line}, column {column}: did you mean `{near}`?"
        );
    }
    match place.and_then(|(line, column)| key(text, line, column)) {
        Some(key) => format!("{key}: {error}"),
        None => error.to_string(),
    }
}

/// The key that was meant, if one is like it.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    // Flags have hyphens, and dots after the section.
    let wrong = wrong.replace('-', "_");
    let alike = known.iter().map(|key| (strsim::jaro(&wrong, key), *key));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(alike, _)| *alike > ALIKE).map(|(_, key)| key)
}

/// The key whose value is in this line and column, both counted from 1, with the keys of the
/// sections around it.
fn key(text: &str, line: u64, column: u64) -> Option<String> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let lines: Vec<&str> = text.lines().take(line).collect();
    let last: String = lines.last()?.chars().take(column - 1).collect();
    let mut keys = keys(&last);
    let mut indent = indent(lines.last()?);
    for above in lines.iter().rev().skip(1) {
        if above.trim().is_empty() || self::indent(above) >= indent {
            continue;
        }
        indent = self::indent(above);
        let mut outer = self::keys(above);
        outer.append(&mut keys);
        keys = outer;
    }
    (!keys.is_empty()).then(|| keys.join("."))
}

/// Where a line begins; the dash of a list is no part of what it begins with.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

/// The words of a line that are keys, the outermost first; those of `{a: 1, b: 2}` beside each
/// other are not told from those within each other, so of them the last alone.
fn keys(line: &str) -> Vec<&str> {
    let outside = line.split(" #").next().unwrap_or_default();
    let mut keys = Vec::new();
    for (section, text) in outside.split('{').enumerate() {
        let ends = text.match_indices(':').map(|(at, _)| at);
        // A colon within a value has something behind it.
        let ends = ends.filter(|at| {
            text[at + 1..]
                .chars()
                .next()
                .is_none_or(char::is_whitespace)
        });
        let key = |at: usize| {
            text[..at]
                .rsplit([' ', ',', '-'])
                .next()
                .unwrap_or_default()
        };
        let found = ends.map(key).rfind(|key| !key.is_empty());
        if let Some(found) = found {
            keys.truncate(section);
            keys.push(found);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_place_is_found() {
        for (text, line, column, found) in [
            ("flows: 1", 1, 8, Some("flows")),
            ("probe_source: [fd00::/8, x]", 1, 26, Some("probe_source")),
            (
                "# a\nprobe_source:\n  - 10.0.0.0/8\n  - x",
                4,
                5,
                Some("probe_source"),
            ),
            (
                "log:\n  # b\n  format: json\n  level: x",
                4,
                10,
                Some("log.level"),
            ),
            ("log: {format: json, level: x}", 1, 28, Some("log.level")),
            (
                "ports:\n- node_port: 1\n  service: x",
                3,
                12,
                Some("ports.service"),
            ),
            ("- a", 1, 1, None),
            ("", 1, 1, None),
        ] {
            assert_eq!(key(text, line, column).as_deref(), found, "{text}");
        }
    }

    #[test]
    fn a_key_that_is_nearly_right_is_known() {
        let known = ["probe_source", "probe_method", "flows"];
        for wrong in ["probe_sources", "probe-source", "probesource"] {
            assert_eq!(nearest(wrong, &known), Some("probe_source"), "{wrong}");
        }
        assert_eq!(nearest("colour", &known), None);
    }
}
