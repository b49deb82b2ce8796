//! What the command line writes to standard output.

use std::{
    io::{self, Write as _},
    os::fd::AsFd,
    time::Duration,
};

use clap::{CommandFactory as _, builder::Resettable};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Cli;
use crate::exit::{Code, Exit};

/// Prints the completion script of a shell to standard output.
///
/// # Errors
/// When standard output cannot be written, other than closed early.
pub fn print_completions(shell: Shell) -> Result<(), Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut script);
    print(&script)
}

/// Prints the manual page of a command, or of `tracer` itself.
///
/// # Errors
/// [`Code::Usage`] when there is no such command; when standard output cannot
/// be written, other than closed early.
pub fn print_man(command: Option<&str>) -> Result<(), Exit> {
    let mut root = Cli::command();
    root.build();
    let about = match command {
        None => root,
        Some(name) => root
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Exit::new(Code::Usage, "manual page", format!("no command `{name}`")))?,
    };
    let page = man(about).map_err(|e| Exit::runtime("manual page", e))?;
    print(&page)
}

/// The page, with the examples set as they are: filled lines would run into
/// each other.
fn man(about: clap::Command) -> std::io::Result<Vec<u8>> {
    let examples = about.get_after_long_help().map(ToString::to_string);
    let mut page = Vec::new();
    let about = about.after_long_help(Resettable::Reset);
    let source = concat!("tracer ", env!("CARGO_PKG_VERSION"));
    let manual = clap_mangen::Man::new(about).source(source);
    manual.render(&mut page)?;
    if let Some(examples) = examples {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines().skip(1) {
            roff.text([roman(line)]);
        }
        roff.control("fi", []).to_writer(&mut page)?;
    }
    Ok(page)
}

/// Writes to standard output; a reader that has seen enough is no failure.
///
/// # Errors
/// When writing fails otherwise.
pub fn print(bytes: &[u8]) -> Result<(), Exit> {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Exit::runtime("write to standard output", e))
        }
        _ => Ok(()),
    }
}

/// How often somebody who only waits looks whether anybody still reads.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until nobody reads standard output any more.
pub async fn abandoned() {
    while !hung_up(&io::stdout()) {
        tokio::time::sleep(LOOK).await;
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

    #[test]
    fn manual_pages_keep_the_lines_of_examples() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
            let examples = command.get_after_long_help().unwrap().to_string();
            assert!(examples.starts_with("Examples:\n"), "{command}");
            let page = String::from_utf8(man(command.clone()).unwrap()).unwrap();
            let title = format!(".TH tracer-{} 1  \"tracer ", command.get_name());
            assert!(page.contains(&title), "{page}");
            let (_, kept) = page.split_once(".SH EXAMPLES\n.nf\n").unwrap();
            assert_eq!(kept.lines().count(), examples.lines().count(), "{page}");
        }
    }
}
