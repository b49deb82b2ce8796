//! Signals that do not end the daemon: SIGHUP reads the settings again, others do no harm.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use testbed::{
    Netns, Proc, Tracer, cleanup::ScratchDir, http, process::poll_until, tracer::LISTEN,
};

const LIMIT: Duration = Duration::from_secs(60);

fn said(process: &Proc, words: &[&str]) -> Result<()> {
    let found = poll_until(LIMIT, "not told", || {
        let said = process.stderr();
        let mut lines = said.lines();
        Ok(lines
            .any(|line| words.iter().all(|w| line.contains(w)))
            .then_some(()))
    });
    found.map_err(|e| e.context(format!("{words:?}: {}", process.stderr())))
}

#[test]
fn settings_are_read_again_and_wrong_ones_change_nothing() -> Result<()> {
    let ns = Netns::new("node")?;
    ns.ip("link set lo up\n")?;
    let scratch = ScratchDir::new()?;
    let config = scratch.write("tracer.yaml", "flows: 1024\n")?;
    let mut command = ns.command(Tracer::binary()?)?;
    command.args(["run", "--interface", "lo", "--socket", "none", "--config"]);
    command.arg(&config);
    command.args(["--web.listen-address", &LISTEN.to_string()]);
    let mut process = ns.spawn(command)?;
    process.wait_until(LIMIT, "not ready", |_| {
        http::get(&ns, LISTEN, "/readyz", "").is_ok_and(|r| r.status == 200)
    })?;
    for (signal, name) in [(Signal::SIGUSR1, "SIGUSR1"), (Signal::SIGUSR2, "SIGUSR2")] {
        process.signal(signal)?;
        said(&process, &[name, "means nothing"])?;
    }
    process.signal(Signal::SIGPIPE)?;
    let replace = |text: &str| {
        let new = scratch.write("new", text)?;
        anyhow::Ok(std::fs::rename(new, &config)?)
    };
    replace("flow: 1024\n")?;
    process.signal(Signal::SIGHUP)?;
    let wrong = [
        "level=error",
        "all stay as they were",
        "did you mean `flows`?",
        "line 1",
    ];
    said(&process, &wrong)?;
    replace("flows: 2048\nlog: {level: debug}\n")?;
    process.signal(Signal::SIGHUP)?;
    said(
        &process,
        &["settings read again", "level=debug", "was=info"],
    )?;
    said(&process, &["settings=flows", "take a restart"])?;
    ensure!(http::get(&ns, LISTEN, "/readyz", "")?.status == 200);
    let status = process.stop(Signal::SIGQUIT, LIMIT)?;
    ensure!(status.success(), "{status}: {}", process.stderr());
    said(&process, &["stopping", "SIGQUIT"])
}
