//! CPU time of `tracer top` and of the daemon that it asks once a second, at 200 ports.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::daemon::timed;
use super::load::Bed;
use super::report::Row;
use super::spread::Spread;
use super::{Plan, start};

const SECTION: &str = "Top";
const PORTS: usize = 200;
/// Until the first refreshes are over.
const SETTLED: Duration = Duration::from_secs(3);
/// Time per round.
const ROUND: Duration = Duration::from_secs(10);

/// Starts a daemon of its own, in namespaces of its own, where every port has failed.
pub(super) fn rows(binary: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let bed = Bed::forwarded(PORTS)?;
    let tracer = start(&bed, binary, &[])?;
    bed.touch_ports(PORTS)?;
    let daemon = tracer.process().pid();
    let used = |pid| -> Result<f64> {
        let (taken, used) = timed(pid, || {
            sleep(ROUND);
            Ok(())
        })?;
        Ok(used.as_secs_f64() / taken.as_secs_f64() * 100.0)
    };
    let (mut alone, mut asked, mut top) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.cpu_rounds {
        alone.push(used(daemon)?);
        let mut command = bed.topology.node.command(binary)?;
        command.args(["top", "-b", "-d", "1", "--socket"]);
        command.arg(tracer.socket());
        let process = bed.topology.node.spawn(command)?;
        sleep(SETTLED);
        asked.push(used(daemon)?);
        top.push(used(process.pid())?);
    }
    let row = |what: &str, values: Vec<f64>| {
        let figure = format!("{PORTS} ports, a table a second: {what}");
        Row::new(SECTION, figure, "% of a core", Spread::of(values))
    };
    Ok(vec![
        row("the daemon without it", alone),
        row("the daemon", asked),
        row("tracer top -b", top),
    ])
}
