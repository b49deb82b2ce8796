//! A terminal that a program can look at and type into: tmux, with a server of
//! its own.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result};
use testbed::{Netns, process};

/// How long something may take to show.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Tmux<'a> {
    ns: &'a Netns,
    name: String,
}

impl<'a> Tmux<'a> {
    /// A shell in the namespace, in a terminal of `width` by `height`.
    pub fn start(ns: &'a Netns, (width, height): (u16, u16)) -> Result<Self> {
        let name = format!("top-{}", ns.name());
        let tmux = Self { ns, name };
        let (width, height) = (width.to_string(), height.to_string());
        let shell = "env PS1='$ ' LC_ALL=C.UTF-8 sh";
        tmux.run(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            shell,
        ])?;
        Ok(tmux)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = self.ns.command("tmux")?;
        command.args(["-u", "-L", &self.name]).args(args);
        command.env("LC_ALL", "C.UTF-8");
        process::run(command, "").context("tmux")
    }

    /// Types keys by tmux's names.
    pub fn keys(&self, keys: &[&str]) -> Result<()> {
        self.run(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Types a line of the shell.
    pub fn line(&self, text: &str) -> Result<()> {
        self.run(&["send-keys", "-l", text])?;
        self.keys(&["Enter"])
    }

    pub fn resize(&self, (width, height): (u16, u16)) -> Result<()> {
        let (width, height) = (width.to_string(), height.to_string());
        self.run(&["resize-window", "-x", &width, "-y", &height])
            .map(drop)
    }

    /// What the terminal shows.
    pub fn screen(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as wanted, and returns it.
    pub fn when(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        let seen = process::poll_until(LIMIT, what, || {
            std::thread::sleep(Duration::from_millis(100));
            last = self.screen()?;
            Ok(wanted(&last).then(|| last.clone()))
        });
        seen.with_context(|| format!("the last screen:\n{last}"))
    }

    /// The alternate screen is on; the cursor is shown.
    pub fn state(&self) -> Result<(bool, bool)> {
        let format = "#{alternate_on} #{cursor_flag}";
        let told = self.run(&["display-message", "-p", format])?;
        let mut told = told.split_whitespace().map(|flag| flag == "1");
        Ok((told.next().unwrap_or(false), told.next().unwrap_or(false)))
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.name, "kill-server"]);
        // Gone already: nothing to end.
        let _ = process::run(command, "");
    }
}
