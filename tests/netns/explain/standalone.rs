//! Without a daemon `explain` watches for itself, as long as `--last` says.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::Tracer;

use super::{
    expect::Explanation,
    scenario::Scenario,
    scene::{PORTS, SOON, Scene},
};

const SCENARIO: Scenario = Scenario {
    services: |s| vec![s.service().backend(s.pod(0, 9099))],
    ..Scenario::new(31538)
};

#[test]
fn watches_by_itself() -> Result<()> {
    let s = Scene::new(&SCENARIO)?;
    let mut command = s.bed.node.command(Tracer::binary()?)?;
    let nowhere = format!("/run/bed-{}-nowhere.sock", std::process::id());
    command.args([
        "explain",
        "--last",
        "3s",
        "-o",
        "json",
        "--node-ports",
        PORTS,
    ]);
    command.args(["--socket", &nowhere]);
    let mut process = s.bed.node.spawn(command)?;
    let mut dials = 0;
    while process.try_wait()?.is_none() {
        ensure!(dials < 600, "it does not end: {}", process.stderr());
        ensure!(s.dials(1, SOON)?.iter().all(Result::is_err));
        dials += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = process.try_wait()?.and_then(|s| s.code());
    let said = format!("{status:?}: {}{}", process.stdout(), process.stderr());
    ensure!(status == Some(3), "{said}");
    let told: Explanation = serde_json::from_str(&process.stdout()).context(said.clone())?;
    let [finding] = &told.verdicts[..] else {
        anyhow::bail!("{said}");
    };
    ensure!(finding.verdict == "nothing_listens", "{said}");
    ensure!(
        finding.backend == Some(s.pod(0, 9099).to_string()),
        "{said}"
    );
    ensure!(
        (10..=dials).contains(&finding.failed),
        "{dials} dials; {said}"
    );
    ensure!(told.unexplained == 0, "{said}");
    Ok(())
}
