//! Counts from the output of Rust's test harness.

use std::ops::AddAssign;

/// Tests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Sum over the `test result:` lines; a serial console may put characters before them.
pub(crate) fn counts(output: &str) -> Counts {
    let mut sum = Counts::default();
    for (_, result) in output
        .lines()
        .filter_map(|line| line.split_once("test result: "))
    {
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<u32>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => sum.passed += count,
                Some("failed") => sum.failed += count,
                Some("ignored") => sum.ignored += count,
                _ => {}
            }
        }
    }
    sum
}

/// Names of the tests that failed, in order.
pub(crate) fn failures(output: &str) -> Vec<&str> {
    let name = |line: &'_ str| -> Option<(usize, usize)> {
        let end = line.find(" ... FAILED")?;
        let start = line.find("test ")? + "test ".len();
        (start < end).then_some((start, end))
    };
    output
        .lines()
        .filter_map(|line| name(line).map(|(start, end)| &line[start..end]))
        .collect()
}

/// Test names in the output of `--list --format terse`.
pub(crate) fn list(output: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests\n\
        test a::works ... ok\n\
        test a::breaks ... FAILED\n\
        \x1b[0mtest result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.01s\n\
        test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn sums_every_result_line() {
        assert_eq!(
            counts(OUTPUT),
            Counts {
                passed: 14,
                failed: 1,
                ignored: 2
            }
        );
        assert_eq!(counts("test result: none here"), Counts::default());
    }

    #[test]
    fn names_the_failed_tests() {
        assert_eq!(failures(OUTPUT), ["a::breaks"]);
    }

    #[test]
    fn lists_tests_and_no_benchmarks() {
        assert_eq!(
            list("a::b: test\nc: benchmark\n\n1 test, 1 benchmark\n"),
            ["a::b"]
        );
    }
}
