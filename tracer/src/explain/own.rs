//! Watching without a daemon: loads the kernel programs for a while.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    cli::Explain,
    config::Config,
    exit::{Code, Exit},
    human,
    recorder::Recorder,
    report::{Explanation, PortRow},
    services::Services,
    snapshot::Source,
};

const PROGRESS: Duration = Duration::from_secs(1);
/// The longest that the kernel programs keep a failure to themselves: the time in which a
/// hook may still note something about it, and up to the next sweep.
const REPORTED: Duration = Duration::from_millis(1_200);

/// Watches for `--last`, or until Ctrl-C, and explains what was seen in that
/// time; `None` after a second Ctrl-C, or one before anything was seen.
///
/// # Errors
/// When a port is not among those watched, `load` fails, or what was seen
/// cannot be read.
pub(super) async fn watch<L>(
    args: &Explain,
    config: &Config,
    load: L,
) -> Result<Option<(Explanation, Duration)>, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    watched(&args.ports, config)?;
    let mut interrupt = interrupts()?;
    let recorder = tokio::select! {
        recorder = start(config, load) => recorder?,
        _ = interrupt.recv() => return Ok(None),
    };
    let begun = Instant::now();
    pass(args.last, &recorder, &mut interrupt).await;
    let watched = begun.elapsed();
    let ports = args.ports.clone();
    let explaining = spawn_blocking(move || {
        let explained = explained(&recorder, begun, &ports);
        // Ends its threads, and takes the programs out of the kernel.
        drop(recorder);
        explained
    });
    tokio::select! {
        explained = explaining => match explained.unwrap_or_else(|e| Err(e.into())) {
            Ok(explanation) => Ok(Some((explanation, watched))),
            Err(e) => Err(Exit::runtime("explain", e)),
        },
        _ = interrupt.recv() => Ok(None),
    }
}

/// What happened since `begun`. Nobody can ask again, so the causes of failures that are
/// counted and not reported yet are waited for, once.
fn explained(recorder: &Recorder, begun: Instant, ports: &[u16]) -> anyhow::Result<Explanation> {
    let explained = recorder.explain(begun.elapsed(), ports)?;
    if explained.ports.iter().all(PortRow::is_reported) {
        return Ok(explained);
    }
    std::thread::sleep(REPORTED);
    recorder.explain(begun.elapsed(), ports)
}

/// Does the work of a command that asks or watches, on this thread. What it has
/// left undone, such as loading that Ctrl-C has ended, is not waited for.
///
/// # Errors
/// Those of the work, and when there can be no runtime.
pub fn finish<T>(work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| Exit::runtime("start the runtime", e))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

/// Ctrl-C, from now on.
///
/// # Errors
/// When the system does not tell.
pub fn interrupts() -> Result<Signal, Exit> {
    signal(SignalKind::interrupt()).map_err(|e| Exit::runtime("handle signals", e))
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

/// Loads the kernel programs and remembers what they see. What is given up
/// while it loads goes on in its thread.
///
/// # Errors
/// When one of both fails.
pub async fn start<L>(config: &Config, load: L) -> Result<Recorder, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    let config = config.clone();
    let started = spawn_blocking(move || {
        let services = Services::start(&config)?;
        let source = load(&config)?;
        Recorder::start(source, &config, services).map_err(|e| Exit::runtime("start recording", e))
    });
    let started = started.await;
    started.unwrap_or_else(|e| Err(Exit::runtime("load", e)))
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
