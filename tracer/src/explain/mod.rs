//! `tracer explain`: which ports fail, why, and what to do.

mod own;
mod page;
mod problems;
mod rows;
mod table;
mod text;
mod words;

use std::{
    borrow::Cow,
    ffi::OsStr,
    io::IsTerminal as _,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use nix::sys::utsname::UtsName;

use crate::{
    api::client::{Client, Limits},
    cli::{self, Explain, Output},
    config::Config,
    exit::Exit,
    human,
    report::{self, Explanation},
    snapshot::Source,
    verdict::Finding,
};
pub use own::{finish, interrupts, start, watched};
use text::Frame;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// Nothing is wrong.
    Healthy = 0,
    /// There is at least one problem.
    Problem = 3,
    /// No attempt was seen, and something keeps packets from the tap.
    Unseen = 69,
    /// Ctrl-C in place of an explanation: 128 + SIGINT, as shells count.
    Interrupted = 130,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(ended as u8)
    }
}

/// Asks the daemon, or watches without one, and prints.
///
/// # Errors
/// When the daemon cannot be asked, or without one: when `load` fails or what
/// was seen cannot be read.
pub fn run<L>(args: &Explain, config: &Config, load: L) -> Result<Ended, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    let explanation = own::finish(explanation(args, config, load));
    let Some((explanation, asked)) = explanation? else {
        return Ok(Ended::Interrupted);
    };
    let out = match args.output {
        Output::Json => report::json(&explanation)?,
        Output::Text => text::render(&explanation, &frame(args, asked)),
    };
    cli::print(out.as_bytes())?;
    Ok(ended(&explanation))
}

/// The explanation, and the window that it should be about.
async fn explanation<L>(
    args: &Explain,
    config: &Config,
    load: L,
) -> Result<Option<(Explanation, Duration)>, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    if let Some(path) = config.socket.path() {
        let client = Client::new(path, Limits::default());
        if let Some(explanation) = client.explain(args.last, &args.ports).await? {
            return Ok(Some((explanation, args.last)));
        }
        let (path, last) = (path.display(), human::duration(args.last.as_secs_f64()));
        anstream::eprintln!("tracer: no daemon answers at {path}; watching for {last} instead");
    }
    own::watch(args, config, load).await
}

/// How an explanation ends the program.
pub fn ended(explanation: &Explanation) -> Ended {
    if !explanation.verdicts.is_empty() || explanation.unexplained > 0 {
        Ended::Problem
    } else if rows::shown(explanation).is_empty() && !explanation.sight.obstacles.is_empty() {
        Ended::Unseen
    } else {
        Ended::Healthy
    }
}

/// An explanation for people without its first line, for a window that was
/// not asked for.
#[must_use]
pub fn body(explanation: &Explanation, all: bool) -> String {
    let frame = Frame {
        node: String::new(),
        kernel: String::new(),
        asked_s: 0.0,
        ports: Vec::new(),
        width: width(),
        all,
    };
    text::body(explanation, &frame)
}

/// One problem by itself, within `width` columns (40 to 110).
#[must_use]
pub fn finding(number: usize, finding: &Finding, width: usize) -> String {
    problems::finding(number, finding, width)
}

/// What the configuration calls this node; one process has one configuration.
static TOLD: OnceLock<String> = OnceLock::new();

/// Calls this node so from now on; only the first call counts.
pub fn call_node(name: String) {
    let _ = TOLD.set(name);
}

/// Name of this node: as it was told, else its host's.
#[must_use]
pub fn node() -> String {
    called(TOLD.get())
}

fn called(told: Option<&String>) -> String {
    told.map_or_else(|| named(UtsName::nodename), String::clone)
}

fn named(of: fn(&UtsName) -> &OsStr) -> String {
    let system = nix::sys::utsname::uname().ok();
    let name = system.as_ref().map(|system| of(system).to_string_lossy());
    name.map_or("?".to_owned(), Cow::into_owned)
}

fn frame(args: &Explain, asked: Duration) -> Frame {
    let (kernel, release) = (named(UtsName::sysname), named(UtsName::release));
    Frame {
        node: node(),
        kernel: format!("{kernel} {release}"),
        asked_s: asked.as_secs_f64(),
        ports: args.ports.clone(),
        width: width(),
        all: args.all,
    }
}

/// Columns of standard output, if that is a terminal; some do not know.
pub fn width() -> Option<usize> {
    const USUAL: usize = 80;
    let out = std::io::stdout();
    let size = terminal_size::terminal_size_of(&out);
    out.is_terminal()
        .then(|| size.map_or(USUAL, |(width, _)| usize::from(width.0)))
}

#[cfg(test)]
mod tests;
