//! Standard output, one line at a time.

use std::{
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
    os::fd::AsFd,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::line;
use crate::{cli::Output, exit::Exit, report::Line};

/// How often an idle follower looks whether anybody still reads.
const LOOK: Duration = Duration::from_secs(1);

/// Where lines go.
pub(super) struct Out {
    output: Output,
    /// Headings are due before the first line.
    headings: bool,
}

impl Out {
    pub(super) fn new(output: Output) -> Self {
        let headings = output == Output::Text && io::stdout().is_terminal();
        Self { output, headings }
    }

    /// Writes a line and flushes; `Break`: nobody reads any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn line(&mut self, line: &Line) -> Result<ControlFlow<()>, Exit> {
        let text = match (self.output, line) {
            (Output::Json, line) => {
                serde_json::to_string(line).map_err(|e| Exit::runtime("write JSON", e))?
            }
            (Output::Text, Line::Event(event)) => line::text(event),
            (Output::Text, Line::Lost { lost }) => {
                anstream::eprintln!("tracer: {lost} failures are not shown: they came too fast");
                return Ok(ControlFlow::Continue(()));
            }
        };
        let headings = std::mem::take(&mut self.headings).then(line::headings);
        let mut out = anstream::stdout().lock();
        let mut lines = headings.iter().chain([&text]);
        let written = lines.try_for_each(|text| writeln!(out, "{text}"));
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(e) => Err(Exit::runtime("write to standard output", e)),
        }
    }

    /// Waits until nobody reads any more.
    pub(super) async fn abandoned(&self) {
        while !hung_up(&io::stdout()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether the other end of a pipe is closed.
fn hung_up(out: &impl AsFd) -> bool {
    // Errors and hang-ups are told without being asked for (poll(2)).
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    let told = fds[0].revents().unwrap_or(PollFlags::empty());
    polled.is_ok() && told.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_noticed_without_writing() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!hung_up(&writer));
        drop(reader);
        assert!(hung_up(&writer));
    }
}
