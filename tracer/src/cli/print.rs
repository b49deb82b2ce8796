//! What the command line writes to standard output.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

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
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(about).render(&mut page);
    rendered.map_err(|e| Exit::runtime("manual page", e))?;
    print(&page)
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
