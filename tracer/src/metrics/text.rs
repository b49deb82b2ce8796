//! The text format 0.0.4, made from OpenMetrics 1.0: sample lines are the same
//! in both, only the lines that describe families differ.

use std::fmt;

/// What the line begins with that is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// Nothing so far.
    #[default]
    Empty,
    Sample,
    Descriptor,
}

/// Takes an OpenMetrics page and makes it one in text format 0.0.4 on its way to
/// `out`.
#[derive(Debug)]
pub(super) struct ToText<'a, W> {
    out: &'a mut W,
    line: Line,
    descriptor: String,
    /// Waits for its family's type.
    help: String,
}

impl<'a, W: fmt::Write> ToText<'a, W> {
    /// Nothing is written so far.
    pub(super) fn to(out: &'a mut W) -> Self {
        Self {
            out,
            line: Line::default(),
            descriptor: String::new(),
            help: String::new(),
        }
    }

    fn part(&mut self, part: &str) -> fmt::Result {
        if self.line == Line::Empty {
            self.line = if part.starts_with('#') {
                Line::Descriptor
            } else {
                Line::Sample
            };
        }
        match self.line {
            Line::Descriptor => self.descriptor.push_str(part),
            _ => self.out.write_str(part)?,
        }
        Ok(())
    }

    /// A family of counters is named like its samples, which only its type tells;
    /// it follows the help.
    fn end(&mut self) -> fmt::Result {
        if std::mem::take(&mut self.line) != Line::Descriptor {
            return Ok(());
        }
        let line = std::mem::take(&mut self.descriptor);
        if line.starts_with("# HELP ") {
            self.help = line;
            return Ok(());
        }
        let is_counter = line.starts_with("# TYPE ") && line.ends_with(" counter\n");
        let help = std::mem::take(&mut self.help);
        descriptor(&help, is_counter, self.out)?;
        descriptor(&line, is_counter, self.out)
    }
}

impl<W: fmt::Write> fmt::Write for ToText<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.part(part)?;
            if part.ends_with('\n') {
                self.end()?;
            }
        }
        Ok(())
    }
}

/// `# EOF` and `# UNIT` do not exist in 0.0.4, a counter family is named like
/// its samples, an unknown type is called untyped, quotes are not escaped.
fn descriptor(line: &str, is_counter: bool, out: &mut impl fmt::Write) -> fmt::Result {
    let mut words = line.trim_end().splitn(4, ' ').skip(1);
    let (Some(key @ ("HELP" | "TYPE")), Some(name)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let suffix = if is_counter { "_total" } else { "" };
    let text = words.next().unwrap_or_default();
    let text = match (key, text) {
        ("TYPE", "unknown") => "untyped",
        _ => text,
    };
    let text = text.replace("\\\"", "\"");
    writeln!(out, "# {key} {name}{suffix} {text}")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn families_are_named_as_in_0_0_4() {
        let page = "# HELP a_b Says \\\"a\\\".\n# TYPE a_b counter\na_b_total{x=\"# EOF\"} 1\n\
                    # HELP c Gauge.\n# TYPE c gauge\n# UNIT c seconds\nc 2.5\nc{d=\"e\"} 3\n\
                    # TYPE u unknown\nu 1\n# EOF\n";
        let text = "# HELP a_b_total Says \"a\".\n# TYPE a_b_total counter\na_b_total{x=\"# EOF\"} 1\n\
                    # HELP c Gauge.\n# TYPE c gauge\nc 2.5\nc{d=\"e\"} 3\n\
                    # TYPE u untyped\nu 1\n";
        // However it is cut into pieces.
        for size in [1, 2, 3, 7, 1000] {
            let mut made = String::new();
            let mut to = ToText::to(&mut made);
            for piece in page.as_bytes().chunks(size) {
                to.write_str(std::str::from_utf8(piece).unwrap()).unwrap();
            }
            assert_eq!(made, text, "{size}");
        }
    }

    #[test]
    fn nothing_stays_nothing() {
        let mut made = String::new();
        ToText::to(&mut made).write_str("# EOF\n").unwrap();
        assert_eq!(made, "");
    }
}
