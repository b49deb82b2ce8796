//! Refreshes as text or JSON, one after the other.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    ask::Asker,
    columns, layout,
    model::{Model, Origin},
    signals::Signals,
    table,
    title::ways,
    ui::{self, Ui},
};
use crate::{
    cli::{self, Output},
    exit::Exit,
    human,
    recorder::TopAsked,
    report::{self, Explanation, Top, TopPort},
};

/// How old causes may be, and where some are not known yet; asking for them takes the
/// daemon longer than counts do.
const EXPLAIN_EVERY: Duration = Duration::from_secs(10);
const EXPLAIN_SOON: Duration = Duration::from_secs(3);

/// What is wanted.
pub(super) struct Wanted {
    pub(super) output: Output,
    /// Refreshes; `None`: until a signal comes or nobody reads.
    pub(super) count: Option<u64>,
}

/// Prints refreshes. A daemon that does not answer is asked again the next time,
/// unless it has never answered.
///
/// # Errors
/// When the first or the last refresh fails, or nothing can be written.
pub(super) async fn run(
    asker: Asker,
    mut model: Model,
    ui: &Ui,
    wanted: &Wanted,
    signals: &mut Signals,
) -> Result<(), Exit> {
    // What was loaded just now has seen nothing yet.
    let first = match model.origin {
        Origin::Own => ui.delay,
        Origin::Daemon(_) => Duration::ZERO,
    };
    let mut tick = interval_at(Instant::now() + first, ui.delay);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = wanted.count;
    let mut explain_at = Instant::now();
    while left != Some(0) {
        tokio::select! {
            _ = tick.tick() => {}
            () = signals.end() => return Ok(()),
            () = cli::abandoned() => return Ok(()),
        }
        left = left.map(|left| left - 1);
        let asked = TopAsked {
            last: ui.window,
            history: Duration::ZERO,
            port: None,
        };
        let answer = tokio::select! {
            answer = asker.clone().top(asked) => answer,
            () = signals.end() => return Ok(()),
        };
        match answer {
            Ok(top) => {
                model.take(top, 0);
                if fails(&model) && explain_at <= Instant::now() {
                    tokio::select! {
                        told = asker.clone().explain(ui.window) => explained(&mut model, told),
                        () = signals.end() => return Ok(()),
                    }
                    explain_at = Instant::now() + explain_after(&model);
                }
                cli::print(page(&model, ui, wanted.output)?.as_bytes())?;
            }
            Err(exit) if model.top.is_none() || left == Some(0) => return Err(exit),
            Err(exit) => {
                if model.silence.is_none() {
                    anstream::eprintln!("tracer: {exit}; trying again");
                }
                model.silent(0.0, exit.to_string());
            }
        }
    }
    Ok(())
}

/// Whether a port has failures, which want a cause.
fn fails(model: &Model) -> bool {
    let mut ports = model.top.iter().flat_map(|top| &top.ports);
    ports.any(|port| port.recent.failed > 0)
}

/// When to ask for causes again.
fn explain_after(model: &Model) -> Duration {
    let told = model.explained.iter().flat_map(|(told, _)| &told.verdicts);
    let told: Vec<u16> = told.map(|finding| finding.node_port).collect();
    let mut ports = model.top.iter().flat_map(|top| &top.ports);
    let is_told = |port: &TopPort| port.recent.failed == 0 || told.contains(&port.node_port);
    if ports.all(is_told) {
        EXPLAIN_EVERY
    } else {
        EXPLAIN_SOON
    }
}

/// Takes causes. Counts are told without them when they cannot be had.
fn explained(model: &mut Model, told: Result<Explanation, Exit>) {
    match told {
        Ok(told) => {
            let now = model.top.as_ref().map_or(0.0, |top| top.time);
            model.explained = Some((told, now));
        }
        Err(exit) => anstream::eprintln!("tracer: causes are not known: {exit}"),
    }
}

pub(super) fn page(model: &Model, ui: &Ui, output: Output) -> Result<String, Exit> {
    let Some(top) = &model.top else {
        return Ok(String::new());
    };
    let rows = ui::rows(model, ui);
    match output {
        Output::Json => {
            let shown = Top {
                ports: rows.iter().map(shown).collect(),
                ..top.clone()
            };
            report::json_line(&shown).map(|json| json + "\n")
        }
        Output::Text => Ok(text(model, ui, top, &rows)),
    }
}

/// A row with its mark and cause, as on the screen.
fn shown(row: &ui::Row<'_>) -> TopPort {
    TopPort {
        mark: columns::mark(row).to_string(),
        verdict: row.why.map(|finding| finding.verdict),
        certainty: row.why.map(|finding| finding.certainty),
        ..row.port.clone()
    }
}

/// A refresh for people: when, how many failed, and the table.
fn text(model: &Model, ui: &Ui, top: &Top, rows: &[ui::Row<'_>]) -> String {
    let (all, _) = layout::all(rows);
    let attempts = human::counted(all.attempts, "attempt");
    let mut summary = format!("{} of {attempts} failed", all.failed());
    if all.failed() > 0 {
        summary.push_str(&format!(": {}", ways(&all)));
    }
    let time = human::time(top.time);
    let node = human::printable(&model.node);
    let window = ui::window(top.window_s);
    let table = match rows {
        [] if top.ports.is_empty() => "Nobody has tried to connect to any watched port.\n".into(),
        [] => "No port matches the filter.\n".into(),
        rows => table::text(rows, ui.totals),
    };
    format!("{time}  {node}  last {window}: {summary}\n{table}\n")
}
