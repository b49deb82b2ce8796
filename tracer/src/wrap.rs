//! Sentences within the width of a terminal. What stands between backticks is a command
//! to be copied: it is never broken over lines, also where it is wider than the terminal.

/// Stands for a blank that is none to break at, while lines are made.
const HARD: char = '\u{e000}';

/// The lines of a text, each of `width` characters at most, but for commands.
pub fn lines(text: &str, width: usize) -> Vec<String> {
    wrap(&keep(text), width, true)
}

/// The same with commands broken like other words: for a screen, which would cut them.
pub fn all(text: &str, width: usize) -> Vec<String> {
    wrap(text, width, false)
}

fn wrap(text: &str, width: usize, commands: bool) -> Vec<String> {
    let options = textwrap::Options::new(width)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    let lines = textwrap::wrap(text, options).into_iter();
    lines
        .flat_map(|line| cut(&line, width, commands))
        .map(|line| line.replace(HARD, " "))
        .collect()
}

/// The text with the blanks of its commands made hard.
fn keep(text: &str) -> String {
    let parts = text.split('`').count();
    // Without its second backtick it is none.
    let is_command = |at: usize| at % 2 == 1 && at + 1 < parts;
    let kept = text
        .split('`')
        .enumerate()
        .map(|(at, part)| match is_command(at) {
            true => part.replace(' ', HARD.encode_utf8(&mut [0; 4])),
            false => part.to_owned(),
        });
    Vec::from_iter(kept).join("`")
}

/// A line that is too wide, in parts, unless it has a command: names of strangers may be
/// of any length.
fn cut(line: &str, width: usize, commands: bool) -> Vec<String> {
    if line.chars().count() <= width || commands && line.contains('`') {
        return vec![line.to_owned()];
    }
    let chars = Vec::from_iter(line.chars());
    chars.chunks(width.max(1)).map(String::from_iter).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_stay_in_one_line() {
        let text = "Run `ip -s link show dev eth0` on the node, then `x` again and a `lone one.";
        assert_eq!(
            lines(text, 24),
            [
                "Run",
                "`ip -s link show dev eth0`",
                "on the node, then `x`",
                "again and a `lone one.",
            ]
        );
        assert_eq!(lines(text, 200), [text]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-z` ]{0,120}", width in 1..50_usize) {
            let without = |text: &str| text.replace(' ', "");
            let lines = lines(&text, width);
            prop_assert_eq!(without(&lines.concat()), without(&text));
            for command in text.split('`').skip(1).step_by(2) {
                let whole = text.matches('`').count().is_multiple_of(2);
                let command = command.trim();
                prop_assert!(!whole || lines.iter().any(|line| line.contains(command)));
            }
        }
    }
}
