//! Standard output, one line at a time.

use std::{
    io::{self, Write as _},
    ops::ControlFlow,
};

use super::{line, narrow};
use crate::{
    cli::Output,
    exit::Exit,
    explain,
    report::{self, Line},
};

/// Where lines go.
pub(super) struct Out {
    output: Output,
    /// Columns of the terminal, where there are too few for all columns of a line.
    narrow: Option<usize>,
    /// Headings are due before the first line.
    headings: bool,
}

impl Out {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            narrow: explain::width().filter(|width| *width < line::WIDE),
            headings: output == Output::Text,
        }
    }

    /// Writes a line and flushes; `Break`: nobody reads any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn line(&mut self, line: &Line) -> Result<ControlFlow<()>, Exit> {
        let text = match (self.output, line) {
            (Output::Json, line) => report::json_line(line)?,
            (Output::Text, Line::Event(event)) => match self.narrow {
                Some(width) => narrow::text(event, width),
                None => line::text(event),
            },
            (Output::Text, Line::Lost { lost }) => {
                anstream::eprintln!("tracer: {lost} failures are not shown: they came too fast");
                return Ok(ControlFlow::Continue(()));
            }
        };
        let headings = std::mem::take(&mut self.headings).then(|| match self.narrow {
            Some(_) => narrow::headings(),
            None => line::headings(),
        });
        let mut out = anstream::stdout().lock();
        let mut lines = headings.iter().chain([&text]);
        let written = lines.try_for_each(|text| writeln!(out, "{text}"));
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(e) => Err(Exit::runtime("write to standard output", e)),
        }
    }
}
