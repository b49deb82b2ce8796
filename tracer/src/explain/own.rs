//! Watching without a daemon: loads the kernel programs for a while.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    cli::Explain,
    config::Config,
    exit::{Code, Exit},
    human,
    recorder::Recorder,
    report::Explanation,
    snapshot::Source,
};

const PROGRESS: Duration = Duration::from_secs(1);

/// Watches for `--last`, or until Ctrl-C, and explains; `None` after a second
/// Ctrl-C.
///
/// # Errors
/// When a port is not among those watched, `load` fails, or what was seen
/// cannot be read.
pub(super) async fn watch<L>(
    args: &Explain,
    config: &Config,
    load: L,
) -> Result<Option<Explanation>, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit>,
{
    watched(&args.ports, config)?;
    let interrupted = |e| Exit::runtime("handle signals", e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(interrupted)?;
    let recorder = start(config, load)?;
    let begun = Instant::now();
    pass(args.last, &recorder, &mut interrupt).await;
    let last = begun.elapsed();
    let ports = args.ports.clone();
    let explaining = tokio::task::spawn_blocking(move || {
        let explained = recorder.explain(last, &ports);
        // Ends its threads, and takes the programs out of the kernel.
        drop(recorder);
        explained
    });
    tokio::select! {
        explained = explaining => match explained {
            Ok(explained) => explained.map(Some).map_err(|e| Exit::runtime("explain", e)),
            Err(e) => Err(Exit::runtime("explain", e)),
        },
        _ = interrupt.recv() => Ok(None),
    }
}

/// Refuses ports that the kernel programs would not look at.
///
/// # Errors
/// [`Code::Usage`] with the first of them.
pub fn watched(ports: &[u16], config: &Config) -> Result<(), Exit> {
    let known = config.ports.as_slice();
    match ports.iter().find(|port| !known.contains(port)) {
        None => Ok(()),
        Some(port) => {
            let cause = format!("only {} are watched", config.ports);
            Err(Exit::new(Code::Usage, format!("port {port}"), cause).remedy("add --node-ports"))
        }
    }
}

/// Loads the kernel programs and remembers what they see.
///
/// # Errors
/// When one of both fails.
pub fn start<L>(config: &Config, load: L) -> Result<Recorder, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit>,
{
    let source = load(config)?;
    Recorder::start(source, config).map_err(|e| Exit::runtime("start recording", e))
}

/// Waits, and says how it goes if somebody looks.
async fn pass(last: Duration, recorder: &Recorder, interrupt: &mut Signal) {
    let end = sleep_until(Instant::now() + last);
    tokio::pin!(end);
    let begun = Instant::now();
    let shown = std::io::stderr().is_terminal();
    let mut tick = interval(PROGRESS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = interrupt.recv() => break,
            _ = tick.tick(), if shown => {
                let text = progress(begun.elapsed(), last, recorder.attempts_and_failed());
                // `\r`, and the rest of the line emptied (ECMA-48, EL).
                overwrite(&format!("\r{text}\x1b[K"));
            }
        }
    }
    if shown {
        overwrite("\r\x1b[K");
    }
}

fn overwrite(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nothing is left to tell a broken standard error.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn progress(elapsed: Duration, last: Duration, (attempts, failed): (u64, u64)) -> String {
    let (elapsed, last) = (elapsed.as_secs(), human::duration(last.as_secs_f64()));
    let attempts = human::counted(attempts, "attempt");
    format!("{elapsed} s of {last}: {attempts}, {failed} failed (Ctrl-C: explain now)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn progress_fits_a_terminal() {
        let text = progress(
            Duration::from_millis(12_900),
            Duration::from_secs(60),
            (1, 0),
        );
        assert_eq!(
            text,
            "12 s of 60 s: 1 attempt, 0 failed (Ctrl-C: explain now)"
        );
    }

    #[test]
    fn ports_that_nobody_watches_are_refused() {
        let config = Config::new(Settings::default(), Settings::default()).unwrap();
        assert_eq!(watched(&[30_000, 32_767], &config), Ok(()));
        let exit = watched(&[30_000, 80], &config).unwrap_err();
        assert_eq!(exit.code(), Code::Usage);
        let expected = "port 80: only 30000-32767 are watched; add --node-ports";
        assert_eq!(exit.to_string(), expected);
    }
}
