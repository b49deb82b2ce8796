//! `tracer health`: whether the daemon of this node is well, for probes that run a
//! program because the HTTP pages ask for a password or a certificate.

use crate::{
    api::client::{Client, Limits},
    cli::{self, Health},
    config::Config,
    exit::Exit,
    human,
};

/// Asks the daemon over its socket, and prints one word.
///
/// # Errors
/// [`crate::exit::Code::Runtime`] when no daemon answers, or it is not ready.
pub fn run(args: &Health, config: &Config) -> Result<(), Exit> {
    let Some(path) = config.socket.path() else {
        return Err(Exit::config("ask the daemon", "it has no socket").remedy("give --socket"));
    };
    let what = format!("ask the daemon at {}", path.display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| Exit::runtime("start the runtime", e))?;
    let client = Client::new(path, Limits::default());
    let Some(condition) = runtime.block_on(client.condition())? else {
        return Err(Exit::runtime(what, "no daemon answers").remedy("is tracer run running?"));
    };
    if args.live {
        return cli::print(b"alive\n");
    }
    if condition.ready {
        return cli::print(b"ready\n");
    }
    let cause = condition.cause.unwrap_or_default();
    Err(Exit::runtime(
        what,
        format!("not ready: {}", human::printable(&cause)),
    ))
}
