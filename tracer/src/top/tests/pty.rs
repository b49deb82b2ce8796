//! The terminal is given back, also after a panic: a child of its own panics on
//! a pseudo terminal.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, Stdio},
};

use nix::{
    pty::{Winsize, openpty},
    sys::termios::{LocalFlags, tcgetattr},
};

use super::super::terminal::Screen;

const CHILD: &str = "TRACER_TEST_PANICS_ON_A_TERMINAL";

const SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// What the child does; without the variable, nothing.
#[test]
fn child_that_panics() {
    if std::env::var_os(CHILD).is_some() {
        let mut screen = Screen::take().unwrap();
        screen
            .terminal
            .draw(|frame| {
                let hello = ratatui::text::Line::raw("hello");
                frame.render_widget(hello, frame.area());
            })
            .unwrap();
        panic!("on purpose");
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    let pty = openpty(Some(&SIZE), None).unwrap();
    let slave: OwnedFd = pty.slave;
    let canonical = |fd: &OwnedFd| {
        let flags = tcgetattr(fd.as_fd()).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    };
    assert!(canonical(&slave));
    let stdio = || Stdio::from(slave.try_clone().unwrap());
    let name = "top::tests::pty::child_that_panics";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(canonical(&slave), "the terminal is still raw");
    drop(slave);
    let mut out = Vec::new();
    // Linux ends the reading of a terminal that nobody holds with EIO.
    let _ = File::from(pty.master).read_to_end(&mut out);
    let out = String::from_utf8_lossy(&out);
    let at = |what: &str| {
        out.find(what)
            .unwrap_or_else(|| panic!("no {what:?} in {out:?}"))
    };
    assert!(at("\u{1b}[?1049h") < at("hello"));
    assert!(at("hello") < at("\u{1b}[?1049l"));
    assert!(
        at("\u{1b}[?1049l") < at("on purpose"),
        "the message is on the lost screen: {out:?}"
    );
    assert!(
        at("\u{1b}[?25h") < at("on purpose"),
        "the cursor is still hidden"
    );
}
