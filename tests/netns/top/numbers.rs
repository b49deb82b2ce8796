use anyhow::{Result, ensure};

use super::scene::Scene;

const WHY: &str = "nothing_listens";

/// What the client did is what `top` counts, in the window and in all; the
/// failures, clients and backends of a port are told too.
#[test]
fn batch_counts_what_the_client_did() -> Result<()> {
    let scene = Scene::new(31900)?;
    let tracer = scene.trace()?;
    scene.checks(7)?;
    scene.refused(5)?;
    let held = [scene.held()?, scene.held()?];
    let seen = scene.refresh_when(&tracer, |top| {
        let (open, closed) = (top.port(scene.open), top.port(scene.closed));
        open.total.traffic.get("health_check") == Some(&7)
            && open.open.values().sum::<u64>() == 2
            && closed.total.outcomes.get("refused") == Some(&5)
    })?;
    let (open, closed) = (seen.port(scene.open), seen.port(scene.closed));
    for (numbers, attempts) in [
        (&open.recent, 9),
        (&open.total, 9),
        (&closed.recent, 5),
        (&closed.total, 5),
    ] {
        ensure!(numbers.attempts == attempts, "{seen:?}");
    }
    ensure!(closed.recent.outcomes["refused"] == 5, "{seen:?}");
    ensure!(seen.ports.len() == 2 && seen.window_s <= 61.0, "{seen:?}");
    drop(held);
    let text = scene.top(&tracer, &["-b", "-n", "2", "-d", "0.2", "--sort", "port"])?;
    let tables = text.matches("5 of 14 attempts failed: 5 refused").count();
    ensure!(tables == 2, "{text}");
    // With the cause, as on the screen, once it has been reported.
    testbed::process::poll_until(
        std::time::Duration::from_secs(5),
        "no cause is told",
        || {
            let text = scene.top(&tracer, &["-b", "-n", "1"])?;
            Ok(text.contains(WHY).then_some(()))
        },
    )?;
    let at = |port: u16| text.find(&port.to_string());
    ensure!(at(scene.open) < at(scene.closed), "{text}");
    ensure!(!text.contains('\u{1b}'), "{text}");
    let filtered = scene.refresh(&tracer, &["--filter", "refused"])?;
    ensure!(filtered.ports.len() == 1, "{filtered:?}");
    Ok(())
}
