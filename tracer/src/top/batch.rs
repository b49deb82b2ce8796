//! Refreshes as text or JSON, one after the other.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval_at};

use super::{
    ask::Asker,
    layout,
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
    report::Top,
};

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
    let mut tick = interval_at(tokio::time::Instant::now() + first, ui.delay);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = wanted.count;
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

fn page(model: &Model, ui: &Ui, output: Output) -> Result<String, Exit> {
    let Some(top) = &model.top else {
        return Ok(String::new());
    };
    let rows = ui::rows(model, ui);
    match output {
        Output::Json => {
            let shown = Top {
                ports: rows.iter().map(|row| row.port.clone()).collect(),
                ..top.clone()
            };
            let json = serde_json::to_string(&shown);
            json.map(|json| json + "\n")
                .map_err(|e| Exit::runtime("write JSON", e))
        }
        Output::Text => Ok(text(model, ui, top, &rows)),
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
    let window = human::duration(top.window_s.round());
    let table = match rows {
        [] if top.ports.is_empty() => "Nobody has tried to connect to any watched port.\n".into(),
        [] => "No port matches the filter.\n".into(),
        rows => table::text(rows, ui.totals),
    };
    format!("{time}  {node}  last {window}: {summary}\n{table}\n")
}
