//! `tracer explain`: which ports fail, why, and what to do.

mod own;
mod rows;
mod table;
mod text;
mod words;

use std::{process::ExitCode, sync::Arc};

use crate::{
    api::client::{Client, Limits},
    cli::{self, Explain, Output},
    config::Config,
    exit::Exit,
    human,
    report::Explanation,
    snapshot::Source,
};
pub use own::{start, watched};
use text::Frame;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// Nothing is wrong.
    Healthy = 0,
    /// There is at least one problem.
    Problem = 3,
    /// Ctrl-C, twice: 128 + SIGINT, as shells count.
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
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| Exit::runtime("start the runtime", e))?;
    let explanation = runtime.block_on(explanation(args, config, load));
    // What a second Ctrl-C has left undone is not waited for.
    runtime.shutdown_background();
    let Some(explanation) = explanation? else {
        return Ok(Ended::Interrupted);
    };
    let out = match args.output {
        Output::Json => serde_json::to_string_pretty(&explanation)
            .map(|json| json + "\n")
            .map_err(|e| Exit::runtime("write JSON", e))?,
        Output::Text => text::render(&explanation, &frame(args)),
    };
    cli::print(out.as_bytes())?;
    Ok(ended(&explanation))
}

async fn explanation<L>(
    args: &Explain,
    config: &Config,
    load: L,
) -> Result<Option<Explanation>, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit>,
{
    if let Some(path) = config.socket.path() {
        let client = Client::new(path, Limits::default());
        if let Some(explanation) = client.explain(args.last, &args.ports).await? {
            return Ok(Some(explanation));
        }
        let (path, last) = (path.display(), human::duration(args.last.as_secs_f64()));
        anstream::eprintln!("tracer: no daemon answers at {path}; watching for {last} instead");
    }
    own::watch(args, config, load).await
}

fn ended(explanation: &Explanation) -> Ended {
    if explanation.verdicts.is_empty() && explanation.unexplained == 0 {
        Ended::Healthy
    } else {
        Ended::Problem
    }
}

fn frame(args: &Explain) -> Frame {
    let system = nix::sys::utsname::uname().ok();
    let system = system.as_ref();
    let name = |text: Option<&std::ffi::OsStr>| {
        text.map_or("?".into(), |text| text.to_string_lossy().into_owned())
    };
    let (kernel, release) = (
        name(system.map(|system| system.sysname())),
        name(system.map(|system| system.release())),
    );
    Frame {
        node: name(system.map(|system| system.nodename())),
        kernel: format!("{kernel} {release}"),
        asked_s: args.last.as_secs_f64(),
        ports: args.ports.clone(),
        width: terminal_size::terminal_size_of(std::io::stdout())
            .map(|(width, _)| usize::from(width.0)),
        all: args.all,
    }
}

#[cfg(test)]
mod tests;
