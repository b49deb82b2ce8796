//! Time of `tracer explain` on a node with 200 ports, and the CPU time that the daemon spends on it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;
use testbed::Tracer;

use super::daemon::timed;
use super::load::Bed;
use super::report::Row;
use super::spread::Spread;
use super::{Plan, start};

const SECTION: &str = "Explain";
/// Promised: seconds for an answer.
const ANSWER_S: f64 = 2.0;
const PORTS: usize = 200;
/// How long the daemon may take to judge what has failed.
const JUDGED: Duration = Duration::from_secs(10);

/// What it says, as far as it shows that it had something to do.
#[derive(Deserialize)]
struct Told {
    verdicts: Vec<serde_json::Value>,
}

/// Starts a daemon of its own, in namespaces of its own: NAT sends every port to a pod, where
/// nothing listens.
pub(super) fn rows(binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let bed = Bed::forwarded(PORTS)?;
    let tracer = start(&bed, binary, &[])?;
    bed.touch_ports(PORTS)?;
    let failed = PORTS as f64;
    let judged =
        |metrics: &testbed::Metrics| metrics.sum("tracer_handshake_failures_total", &[]) >= failed;
    tracer.metrics_when(JUDGED, "the refused dials are not judged", judged)?;
    let (mut time, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (taken, used) = timed(tracer.process().pid(), || {
            let told: Told = serde_json::from_str(&explain(&bed, binary, &tracer, "60s")?)?;
            let found = told.verdicts.len();
            ensure!(found >= PORTS, "only {found} ports are explained");
            Ok(())
        })?;
        time.push(taken.as_secs_f64());
        cpu.push(used.as_secs_f64() * 1e3);
    }
    let figure = format!("{PORTS} ports, all failing");
    let row = |what: &str, unit, values: Vec<f64>| {
        Row::new(
            SECTION,
            format!("{figure}: {what}"),
            unit,
            Spread::of(values),
        )
    };
    Ok(vec![
        row("time of the command", "s", time).at_most(Some(ANSWER_S)),
        row("CPU time of the daemon", "ms", cpu),
    ])
}

/// `tracer explain -o json` about the daemon's last seconds or minutes.
///
/// # Errors
/// It has neither found nothing nor a problem, but failed.
pub(super) fn explain(bed: &Bed, binary: &Path, tracer: &Tracer<'_>, last: &str) -> Result<String> {
    let args = ["-o", "json", "--last", last];
    crate::explain::explain(&bed.topology.node, binary, tracer, &args)
}
