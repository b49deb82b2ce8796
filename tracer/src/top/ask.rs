//! Who is asked: the daemon, or programs of our own.

use std::{path::PathBuf, time::Duration};

use tokio::task::spawn_blocking;

use crate::{
    api::client::{Client, Limits},
    exit::Exit,
    recorder::{Recorder, TopAsked},
    report::{Explanation, Top},
};

/// How long an answer may take.
const TIME: Duration = Duration::from_secs(5);

/// Where answers come from.
#[derive(Clone)]
pub(super) enum Asker {
    /// The daemon at this socket.
    Daemon(PathBuf),
    /// Programs that were loaded for this command.
    Own(Recorder),
}

impl Asker {
    /// All ports.
    ///
    /// # Errors
    /// When nobody answers, or what answers is none.
    pub(super) async fn top(self, asked: TopAsked) -> Result<Top, Exit> {
        match self {
            Self::Daemon(path) => {
                let client = Client::new(&path, limits(TIME));
                client.top(&asked).await?.ok_or_else(|| nobody(&path))
            }
            Self::Own(recorder) => {
                let made = spawn_blocking(move || recorder.top(&asked)).await;
                let made = made.unwrap_or_else(|e| Err(e.into()));
                made.map_err(|e| Exit::runtime("read the counters", e))
            }
        }
    }

    /// Why ports failed in the last `last`.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn explain(self, last: Duration) -> Result<Explanation, Exit> {
        match self {
            Self::Daemon(path) => {
                let client = Client::new(&path, Limits::default());
                let told = client.explain(last, &[]).await?;
                told.ok_or_else(|| nobody(&path))
            }
            Self::Own(recorder) => {
                let made = spawn_blocking(move || recorder.explain(last, &[])).await;
                let made = made.unwrap_or_else(|e| Err(e.into()));
                made.map_err(|e| Exit::runtime("explain", e))
            }
        }
    }
}

fn limits(time: Duration) -> Limits {
    Limits {
        time,
        ..Limits::default()
    }
}

fn nobody(path: &std::path::Path) -> Exit {
    let what = format!("ask the daemon at {}", path.display());
    Exit::runtime(what, "nobody answers").remedy("is `tracer run` running?")
}
