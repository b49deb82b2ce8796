//! `tracer events`: failures one by one.

mod line;
mod narrow;
mod out;

use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::{
    api::client::{Client, Limits, Lines},
    cli::{self, Events},
    config::Config,
    exit::Exit,
    explain,
    recorder::Follower,
    report::Line,
    snapshot::Source,
};
pub use line::{headings, text};
use out::Out;

/// Lists what the daemon remembers, or follows it, or follows without one,
/// until Ctrl-C or until nobody reads any more.
///
/// # Errors
/// When the daemon cannot be asked or ends, or without one: when `load` fails.
pub fn run<L>(args: &Events, config: &Config, load: L) -> Result<(), Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    explain::finish(events(args, config, load))
}

async fn events<L>(args: &Events, config: &Config, load: L) -> Result<(), Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    let mut interrupt = explain::interrupts()?;
    let mut out = Out::new(args.output);
    if let Some(path) = config.socket.path() {
        let client = Client::new(path, Limits::default());
        let asked = ask(args, &client, &mut out);
        let asked = tokio::select! {
            asked = asked => asked?,
            _ = interrupt.recv() => return Ok(()),
        };
        match asked {
            Some(Asked::Done) => return Ok(()),
            Some(Asked::Follow(lines)) => {
                return follow(From::Daemon(lines), &mut out, &mut interrupt).await;
            }
            None => {
                let path = path.display();
                anstream::eprintln!(
                    "tracer: no daemon answers at {path}; watching instead (Ctrl-C ends)"
                );
            }
        }
    }
    explain::watched(&args.ports, config)?;
    let recorder = tokio::select! {
        recorder = explain::start(config, load) => recorder?,
        _ = interrupt.recv() => return Ok(()),
    };
    let follower = recorder.follow(&args.filter());
    let from = From::Own(follower);
    let followed = follow(from, &mut out, &mut interrupt).await;
    drop(recorder);
    followed
}

/// What the daemon had to say.
enum Asked<'a> {
    /// All of it is written.
    Done,
    /// There is more to come.
    Follow(Lines<'a>),
}

async fn ask<'a>(
    args: &Events,
    client: &Client<'a>,
    out: &mut Out,
) -> Result<Option<Asked<'a>>, Exit> {
    let query = args.filter().query();
    if args.follow {
        return Ok(client.follow(&query).await?.map(Asked::Follow));
    }
    let Some(lines) = client.events(&query).await? else {
        return Ok(None);
    };
    for line in &lines {
        if out.line(line)?.is_break() {
            break;
        }
    }
    Ok(Some(Asked::Done))
}

/// Where failures come from.
enum From<'a> {
    Daemon(Lines<'a>),
    Own(Follower),
}

impl From<'_> {
    async fn next(&mut self) -> Result<Line, Exit> {
        match self {
            Self::Daemon(lines) => match lines.next().await? {
                Some(line) => Ok(line),
                None => Err(Exit::runtime("follow the daemon", "it has stopped")
                    .remedy("start it, or run this again to watch without it")),
            },
            Self::Own(follower) => {
                let next = follower.next().await;
                next.ok_or_else(|| Exit::runtime("follow", "recording has stopped"))
            }
        }
    }
}

async fn follow(mut from: From<'_>, out: &mut Out, interrupt: &mut Signal) -> Result<(), Exit> {
    loop {
        tokio::select! {
            line = from.next() => if out.line(&line?)?.is_break() {
                return Ok(());
            },
            () = cli::abandoned() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}
