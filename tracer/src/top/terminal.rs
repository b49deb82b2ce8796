//! The terminal: taken, and given back as it was however this ends.

use std::{
    io::{self, BufWriter, Stdout},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    Command as _, cursor,
    terminal::{self, EnterAlternateScreen, LeaveAlternateScreen},
};
use nix::sys::signal::{Signal, raise};
use ratatui::{Terminal, backend::CrosstermBackend};

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The screen. Dropping it gives the terminal back; a panic does too, before its
/// message is written.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())));
        // On failure the guard is not made yet.
        let terminal = terminal.inspect_err(|_| give_back())?;
        Ok(Self { terminal })
    }

    /// Stops, as Ctrl-Z does elsewhere, until the user's shell goes on with it.
    ///
    /// # Errors
    /// When the terminal cannot be taken again.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        raise(Signal::SIGTSTP)?;
        enter()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut codes = String::new();
    // Into a string: cannot fail.
    let _ = EnterAlternateScreen.write_ansi(&mut codes);
    let _ = cursor::Hide.write_ansi(&mut codes);
    write(&codes).inspect_err(|_| give_back())
}

/// Undoes [`enter`], once. Writes past the buffers of standard output, which a
/// panic may have left in use.
pub(super) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut codes = String::new();
    let _ = LeaveAlternateScreen.write_ansi(&mut codes);
    let _ = cursor::Show.write_ansi(&mut codes);
    // Nothing is left to tell a terminal that is gone.
    let _ = write(&codes);
    let _ = terminal::disable_raw_mode();
}

fn write(codes: &str) -> io::Result<()> {
    let mut rest = codes.as_bytes();
    while !rest.is_empty() {
        match nix::unistd::write(io::stdout(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Whether the terminal shows more than ASCII, as far as the locale tells
/// (locale(7): the first of these that is set).
pub(super) fn shows_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let mut set = set.filter_map(variable).filter(|value| !value.is_empty());
    let first = set.next().unwrap_or_default().to_lowercase();
    first.contains("utf-8") || first.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_that_is_set_tells() {
        let with = |set: &[(&str, &str)]| {
            shows_unicode(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[("LANG", "de_DE.UTF-8")]));
        assert!(with(&[
            ("LC_ALL", ""),
            ("LC_CTYPE", "C.utf8"),
            ("LANG", "C")
        ]));
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!with(&[]));
    }
}
