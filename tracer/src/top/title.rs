//! The lines above the table, and the one below everything.

use ratatui::text::{Line, Span};
use tracer_common::words::Outcome;

use super::{
    draw::{sides, span},
    look::Look,
    model::{Counts, Model, Origin, is_failure},
    ui::{self, Ui},
};
use crate::{human, report::Top};

/// How long a restart is worth a line, in seconds.
const RESTARTED_S: f64 = 60.0;

/// Time of day (UTC).
pub(super) fn clock(time: f64) -> String {
    human::time(time).get(11..19).unwrap_or("?").to_owned()
}

/// The lines above the table.
pub(super) fn lines(model: &Model, ui: &Ui, width: u16, look: Look) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let mut lines = vec![first(model, ui, width, look)];
    if let Some(top) = &model.top {
        lines.push(summary(top, ui, width, look));
    }
    lines.extend(notices(model, ui, look));
    lines
}

fn first(model: &Model, ui: &Ui, width: usize, look: Look) -> Line<'static> {
    let node = human::printable(&model.node).into_owned();
    let mut left = vec![
        span("tracer top  ", look.strong()),
        span(node, look.strong()),
        Span::raw(format!("  {}", window(model, ui))),
    ];
    if ui.paused {
        left.push(span("  PAUSED", look.doubtful().patch(look.strong())));
    }
    let time = model.top.as_ref().map(|top| clock(top.time));
    let every = human::duration(ui.delay.as_secs_f64());
    let right = format!("every {every}  {} UTC", time.unwrap_or_default());
    sides(left, vec![Span::raw(right)], width)
}

/// What the counts are about.
fn window(model: &Model, ui: &Ui) -> String {
    let asked = ui.window.as_secs_f64();
    let Some(top) = &model.top else {
        return format!("last {}", human::duration(asked));
    };
    if ui.totals {
        let since = clock(top.time - top.uptime_s);
        return format!("TOTALS since {since} ({})", human::duration(top.uptime_s));
    }
    let length = ui::window(top.window_s);
    if top.window_s + 1.5 < asked {
        // No more is remembered yet.
        format!("last {length} (of {})", human::duration(asked))
    } else {
        format!("last {length}")
    }
}

/// How many attempts failed, and how.
fn summary(top: &Top, ui: &Ui, width: usize, look: Look) -> Line<'static> {
    let mut all = Counts::default();
    let mut failing = 0;
    for port in &top.ports {
        let counts = Counts::of(port, ui.totals);
        failing += u64::from(counts.failed() > 0);
        all.add(&counts);
    }
    let failed = all.failed();
    let attempts = human::counted(all.attempts, "attempt");
    let left = if failed == 0 {
        let text = format!("0 of {attempts} failed");
        let style = if all.attempts > 0 {
            look.good()
        } else {
            look.faint()
        };
        vec![span(text, style)]
    } else {
        let share = human::share(failed as f64 / all.attempts as f64);
        let text = format!("{failed} of {attempts} failed ({share})");
        vec![
            span(text, look.bad().patch(look.strong())),
            Span::raw(format!(": {}", ways(&all))),
        ]
    };
    let of = human::counted(top.ports.len() as u64, "port");
    let mut right = format!(
        "{failing} of {of} failing  flows {}",
        human::count(top.flows)
    );
    if top.flows.saturating_mul(2) > top.flows_capacity {
        right.push_str(&format!(" of {}", human::count(top.flows_capacity)));
    }
    sides(left, vec![Span::raw(right)], width)
}

/// `16 refused, 3 timed out`
pub(super) fn ways(counts: &Counts) -> String {
    let failed = Outcome::ALL.iter().filter(|o| is_failure(**o));
    let mut ways: Vec<(u64, &str)> = failed
        .map(|o| (counts.outcome(*o), o.as_str()))
        .filter(|(count, _)| *count > 0)
        .collect();
    ways.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let ways = ways.iter();
    let ways =
        ways.map(|(count, word)| format!("{} {}", human::count(*count), human::printable(word)));
    ways.collect::<Vec<_>>().join(", ")
}

fn notices(model: &Model, ui: &Ui, look: Look) -> Vec<Line<'static>> {
    let mut notices = Vec::new();
    if let Some(silence) = &model.silence {
        let mut text = format!("NO ANSWER since {}", clock(silence.since));
        if let Some(top) = &model.top {
            text.push_str(&format!(
                "; what is below is of {}, not live",
                clock(top.time)
            ));
        }
        text.push_str(&format!(". {}", human::printable(&silence.why)));
        notices.push(Line::styled(text, look.bad().patch(look.bar())));
    }
    let Some(top) = &model.top else {
        if notices.is_empty() {
            let text = match &model.origin {
                Origin::Daemon(path) => format!("Asking the daemon at {path} …"),
                Origin::Own => "Loading …".to_owned(),
            };
            notices.push(Line::raw(human::printable(&text).into_owned()));
        }
        return notices;
    };
    if model.origin == Origin::Own {
        let since = clock(top.time - top.uptime_s);
        let text =
            format!("No daemon: watching by own programs since {since}; counts begin there.");
        notices.push(Line::styled(text, look.hint()));
    }
    if let Some(at) = model.restarted.filter(|at| top.time - at < RESTARTED_S) {
        let text = format!(
            "The daemon was started again at {}: counts begin there.",
            clock(at)
        );
        notices.push(Line::styled(text, look.doubtful()));
    }
    if !top.lost.is_empty() {
        let lost = top.lost.iter();
        let lost = lost.map(|(why, count)| format!("{count} {}", human::printable(why)));
        let lost: Vec<String> = lost.collect();
        let text = format!("Not taken into account: {}.", lost.join(", "));
        notices.push(Line::styled(text, look.doubtful()));
    }
    if let Some(text) = &ui.typing {
        let text = human::printable(text).into_owned();
        let hint = "  (Enter: take, Esc: drop; port, Service, outcome, verdict or `failing`)";
        notices.push(Line::from(vec![
            span("/", look.strong()),
            span(text, look.strong()),
            span("_", look.strong()),
            span(hint, look.faint()),
        ]));
    } else if !ui.filter.is_empty() {
        let filter = human::printable(&ui.filter);
        notices.push(Line::styled(format!("Filter: {filter}"), look.hint()));
    }
    notices
}

/// The keys, as many as fit.
pub(super) fn footer(model: &Model, ui: &Ui, more: usize, width: u16, look: Look) -> Line<'static> {
    let _ = model;
    let width = usize::from(width);
    let mut keys = vec![("q", "quit"), ("?", "help")];
    match ui.pane {
        super::ui::Pane::None => keys.push(("enter", "detail")),
        _ => keys.extend([("esc", "back"), ("pgdn", "scroll")]),
    }
    keys.extend([
        ("/", "filter"),
        ("s", "sort"),
        ("S", "reverse"),
        ("d", if ui.totals { "window" } else { "totals" }),
        ("space", if ui.paused { "go on" } else { "pause" }),
        ("w", "window"),
    ]);
    let right = match (more, ui.skipped) {
        (0, 0) => String::new(),
        (0, _) => "←".to_owned(),
        (more, 0) => format!("→ {}", human::counted(more as u64, "column")),
        (more, _) => format!("← → {}", human::counted(more as u64, "column")),
    };
    let room = width.saturating_sub(right.chars().count() + 2);
    let mut left: Vec<Span<'static>> = Vec::new();
    let mut taken = 0;
    for (key, what) in keys {
        let needs = key.chars().count() + what.chars().count() + 3;
        if taken + needs > room + 2 {
            break;
        }
        taken += needs;
        left.push(span(key, look.strong()));
        left.push(Span::raw(format!(" {what}  ")));
    }
    sides(left, vec![Span::raw(right)], width)
}
