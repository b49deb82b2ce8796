//! Numbers and strangers' words for people, the same everywhere.

use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use crate::{recorder::OTHER, snapshot::SHARED_PORT};

/// Three digits at most, with a unit: `54 µs`, `0.2 ms`, `1.5 s`, `10 min`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    // Each limit is where the rounded number would get the next unit.
    const UNITS: [(f64, f64, &str); 4] = [
        (0.000_099_5, 1e6, "µs"),
        (0.999_5, 1e3, "ms"),
        (119.5, 1.0, "s"),
        (7_170.0, 1.0 / 60.0, "min"),
    ];
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    let unit = UNITS.iter().find(|(limit, ..)| seconds < *limit);
    let (_, factor, unit) = unit.unwrap_or(&(0.0, 1.0 / 3_600.0, "h"));
    let value = seconds * factor;
    let digits = usize::from(value < 9.95);
    let number = format!("{value:.digits$}");
    format!("{} {unit}", number.strip_suffix(".0").unwrap_or(&number))
}

/// How long an answer took, to three digits, `151 µs`, `1.23 ms`, `68.7 s`: with fewer
/// it could be 5 % off.
#[must_use]
pub fn latency(seconds: f64) -> String {
    // Each limit is where the rounded number would get the next unit.
    const UNITS: [(f64, f64, &str); 2] = [(0.000_999_5, 1e6, "µs"), (0.999_5, 1e3, "ms")];
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    let unit = UNITS.iter().find(|(limit, ..)| seconds < *limit);
    let (_, factor, unit) = unit.unwrap_or(&(0.0, 1.0, "s"));
    let value = seconds * factor;
    let digits = usize::from(value < 99.95) + usize::from(value < 9.995);
    let number = format!("{value:.digits$}");
    let number = match number.split_once('.') {
        Some(_) => number.trim_end_matches('0').trim_end_matches('.'),
        None => &number,
    };
    format!("{number} {unit}")
}

/// A node port, or the word for all those that count together.
#[must_use]
pub fn node_port(port: u16) -> Cow<'static, str> {
    match port {
        SHARED_PORT => OTHER.into(),
        port => port.to_string().into(),
    }
}

/// A share from 0 to 1 in percent; never 0 % or 100 % of what is only nearly so.
#[must_use]
pub fn share(share: f64) -> String {
    match share * 100.0 {
        percent if !percent.is_finite() => "?".to_owned(),
        percent if percent > 0.0 && percent < 1.0 => "<1 %".to_owned(),
        percent if percent > 99.0 && percent < 100.0 => ">99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// A count in a table: five characters at most up to a million billions, the last
/// digits given up where they do not fit: `99999`, `123k`, `1.2M`.
#[must_use]
pub fn count(count: u64) -> String {
    const UNITS: [(f64, char); 5] = [(1e3, 'k'), (1e6, 'M'), (1e9, 'G'), (1e12, 'T'), (1e15, 'P')];
    if count < 100_000 {
        return count.to_string();
    }
    let count = count as f64;
    // The limit is where the rounded number would get the next unit.
    let unit = UNITS.iter().find(|(factor, _)| count / factor < 999.5);
    let (factor, unit) = unit.unwrap_or(&(1e18, 'E'));
    let value = count / factor;
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$}{unit}")
}

/// How often a second: `0`, `0.3`, `12`, `120k`; never 0 of what is only nearly so.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if !rate.is_finite() || rate < 0.0 => "?".to_owned(),
        0.0 => "0".to_owned(),
        rate if rate < 0.05 => "<0.1".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate => count(rate.round() as u64),
    }
}

/// A count with its noun: `1 attempt`, `12 attempts`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Seconds since the Unix epoch as RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn time(seconds: f64) -> String {
    /// humantime can write no later year.
    const END: u64 = 253_402_300_800;
    let since = Duration::try_from_secs_f64(seconds).ok();
    match since.filter(|since| since.as_secs() < END) {
        Some(since) => humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string(),
        None => "?".to_owned(),
    }
}

/// Text of which some came from elsewhere (process names, packets, another
/// program's answer), without what would move a terminal's cursor, change its
/// colours or turn the writing direction.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Control characters; line and paragraph separators; marks and overrides of
/// the writing direction and other invisible format characters (Unicode, Cf).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_three_digits() {
        for (seconds, text) in [
            (0.0, "0 µs"),
            (0.000_008_192, "8.19 µs"),
            (0.000_017, "17 µs"),
            (0.000_151, "151 µs"),
            (0.000_999_6, "1 ms"),
            (0.001_23, "1.23 ms"),
            (0.012_34, "12.3 ms"),
            (0.2, "200 ms"),
            (1.004, "1 s"),
            (1.049, "1.05 s"),
            (68.7, "68.7 s"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(latency(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn durations_have_at_most_three_digits_and_no_idle_zero() {
        for (seconds, text) in [
            (0.0, "0 µs"),
            (0.000_053_9, "54 µs"),
            (0.000_099_4, "99 µs"),
            (0.000_099_6, "0.1 ms"),
            (0.000_2, "0.2 ms"),
            (0.001, "1 ms"),
            (0.009_96, "10 ms"),
            (0.229, "229 ms"),
            (0.999_4, "999 ms"),
            (0.999_6, "1 s"),
            (1.5, "1.5 s"),
            (60.0, "60 s"),
            (119.6, "2 min"),
            (150.0, "2.5 min"),
            (7_200.0, "2 h"),
            (1e300, &format!("{:.0} h", 1e300 / 3_600.0)),
            (-1.0, "?"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        for (value, text) in [
            (0.0, "0 %"),
            (0.000_1, "<1 %"),
            (0.5, "50 %"),
            (0.989, "99 %"),
            (0.999, ">99 %"),
            (1.0, "100 %"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(share(value), text, "{value}");
        }
    }

    #[test]
    fn counts_take_five_characters_at_most() {
        for (value, text) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (9_949_999, "9.9M"),
            (12_345_678, "12M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(count(value), text, "{value}");
        }
    }

    #[test]
    fn rates_are_never_rounded_to_nothing() {
        for (value, text) in [
            (0.0, "0"),
            (0.016, "<0.1"),
            (0.25, "0.2"),
            (9.96, "10"),
            (123_456.0, "123k"),
            (-1.0, "?"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(rate(value), text, "{value}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_700_000_000.25), "2023-11-14T22:13:20.250Z");
        for impossible in [-1.0, f64::NAN, 1e300, 253_402_300_800.0] {
            assert_eq!(time(impossible), "?", "{impossible}");
        }
        assert_eq!(time(253_402_300_799.0), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(printable("größe ≤ 3"), "größe ≤ 3");
        assert_eq!(
            printable("a\x1b[2J\nb\u{202e}c\u{9b}d\u{7f}"),
            "a\\u{1b}[2J\\u{a}b\\u{202e}c\\u{9b}d\\u{7f}"
        );
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        assert!(!printable(&all).chars().any(char::is_control));
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "attempt"), "1 attempt");
        assert_eq!(counted(0, "attempt"), "0 attempts");
    }
}
