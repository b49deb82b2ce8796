use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use testbed::Tracer;

use super::{scene::Scene, tmux::Tmux};

/// The row of a port, if it is shown.
fn row(screen: &str, port: u16) -> Option<&str> {
    let port = port.to_string();
    screen
        .lines()
        .find(|line| line.get(..7).is_some_and(|start| start.contains(&port)))
}

fn above(screen: &str, first: u16, second: u16) -> bool {
    let at = |port: u16| {
        let row = row(screen, port)?;
        screen.find(row)
    };
    at(first)
        .zip(at(second))
        .is_some_and(|(first, second)| first < second)
}

fn restored(tmux: &Tmux<'_>, saved: &str) -> Result<()> {
    // One line of it is longer than a narrow terminal.
    tmux.resize((160, 40))?;
    tmux.line("clear; stty -g; echo end=$?")?;
    let screen = tmux.when("the shell is back", |s| s.contains("end=0"))?;
    ensure!(screen.contains(saved), "stty: {saved} is lost:\n{screen}");
    ensure!(tmux.state()? == (false, true), "alternate screen or cursor");
    Ok(())
}

/// Start, traffic, sort, filter, detail, help, resize, quit; then a daemon that
/// is killed and comes back, and an end by SIGTERM.
#[test]
fn an_engineer_uses_it() -> Result<()> {
    let scene = Scene::new(31910)?;
    let (open, closed) = (scene.open, scene.closed);
    let tracer = scene.trace()?;
    let socket = tracer.socket().to_owned();
    let tmux = Tmux::start(&scene.bed.node, (160, 30))?;
    tmux.when("a shell", |s| s.starts_with('$'))?;
    tmux.line("stty -g")?;
    let first = tmux.when("stty", |s| {
        s.lines().nth(2).is_some_and(|l| l.starts_with('$'))
    })?;
    let saved = first.lines().nth(1).unwrap_or_default().to_owned();
    let binary = Tracer::binary()?;
    let start = format!(
        "{} top -d 0.5 --socket {}",
        binary.display(),
        socket.display()
    );
    tmux.line(&format!("clear; {start}"))?;
    tmux.when("an empty table", |s| {
        s.contains("Nobody has tried to connect")
    })?;
    ensure!(tmux.state()? == (true, false), "it draws elsewhere");

    scene.checks(3)?;
    scene.refused(4)?;
    let screen = tmux.when("the traffic", |s| s.contains("4 of 7 attempts failed"))?;
    ensure!(
        above(&screen, closed, open),
        "failures stand first:\n{screen}"
    );
    tmux.keys(&["S"])?;
    tmux.when("the other order", |s| above(s, open, closed))?;
    tmux.keys(&["S", "/"])?;
    tmux.keys(&["-l", "refused"])?;
    tmux.when("one row", |s| {
        row(s, open).is_none() && row(s, closed).is_some()
    })?;
    tmux.keys(&["Enter", "Enter"])?;
    let screen = tmux.when("the verdict", |s| s.contains("nothing_listens, certain"))?;
    ensure!(screen.contains(&format!("─ Port {closed}")), "{screen}");
    tmux.resize((180, 50))?;
    let screen = tmux.when("all of the detail", |s| {
        s.contains("─ Clients (of 4 of 4 attempts)") && s.contains("─ Last failures")
    })?;
    ensure!(
        screen.contains("Backends") && screen.contains("100 %  4 refused"),
        "{screen}"
    );
    tmux.resize((80, 24))?;
    tmux.keys(&["?"])?;
    tmux.when("help", |s| {
        s.contains("detail of the port under the cursor")
    })?;
    tmux.keys(&["q"])?;
    restored(&tmux, &saved)?;

    tmux.line(&format!("clear; {start} --totals"))?;
    tmux.when("totals", |s| s.contains("4 of 7 attempts failed"))?;
    // Its folder stays: the next one binds there.
    tracer.process().signal(Signal::SIGKILL)?;
    tmux.when("that nobody answers", |s| s.contains("NO ANSWER since"))?;
    let mut command = scene.bed.node.command(&binary)?;
    command.args(["run", "--node-ports", super::scene::PORTS, "--socket"]);
    let _again = scene.bed.node.spawn({
        command
            .arg(&socket)
            .args(["--web.listen-address", "127.0.0.1:9400"]);
        command
    })?;
    tmux.when("the new daemon", |s| {
        s.contains("started again at") && s.contains("0 of 0 attempts failed")
    })?;
    scene.checks(2)?;
    tmux.when("new counts", |s| s.contains("0 of 2 attempts failed"))?;
    tmux.keys(&["C-z"])?;
    tmux.when("the shell meanwhile", |s| {
        s.contains('$') && !s.contains("TRY/S")
    })?;
    tmux.line("clear; kill %1; fg")?;
    restored(&tmux, &saved)
}
