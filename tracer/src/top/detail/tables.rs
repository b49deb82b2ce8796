//! Who was tried and who tried: backends, clients, single failures.

use ratatui::text::Line;

use crate::{
    human,
    report::{Event, TopBackend, TopClients, TopDetail},
    top::{
        help::title,
        lines::{Lines, small_table},
        look::Look,
        title::clock,
    },
};

pub(super) fn backends(detail: &TopDetail, width: usize, look: Look) -> Lines {
    let mut lines = vec![title("Backends", width, look)];
    if detail.backends.is_empty() {
        lines.push(Line::styled(
            "  NAT was not seen choosing any",
            look.faint(),
        ));
        return lines;
    }
    let row = |backend: &TopBackend| {
        let share = backend
            .attempts
            .filter(|n| *n > 0)
            .map(|n| human::share((backend.failed as f64 / n as f64).min(1.0)));
        let ways = backend.failures.iter();
        let ways = ways.map(|(word, n)| format!("{} {}", human::count(*n), human::printable(word)));
        let ways: Vec<String> = ways.collect();
        vec![
            backend
                .address
                .map_or("not known".to_owned(), |a| a.to_string()),
            backend
                .pod
                .as_deref()
                .map_or("-".into(), human::printable)
                .into_owned(),
            backend.attempts.map_or("-".to_owned(), human::count),
            human::count(backend.failed),
            share.unwrap_or("-".to_owned()),
            ways.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = detail.backends.iter().map(row).collect();
    let bad = |at: usize| detail.backends.get(at).is_some_and(|b| b.failed > 0);
    let headings = [
        "ADDRESS",
        "POD",
        "TRIED",
        "FAILED",
        "SHARE",
        "WHAT WENT WRONG",
    ];
    lines.extend(small_table(&headings, &[0, 1, 5], &rows, bad, look));
    lines
}

pub(super) fn clients(clients: &TopClients, width: usize, look: Look) -> Lines {
    let known = human::count(clients.known.min(clients.attempts));
    let of = human::counted(clients.attempts, "attempt");
    let text = format!("Clients (of {known} of {of})");
    let mut lines = vec![title(&text, width, look)];
    if let Some(why) = &clients.absent {
        let why = human::printable(why);
        lines.push(Line::styled(format!("  not known: {why}"), look.doubtful()));
        return lines;
    }
    let rows = clients.top.iter().map(|client| {
        let every = client
            .every_s
            .map(|s| format!("every {}", human::duration(s)));
        vec![
            client.address.to_string(),
            human::count(client.attempts),
            human::count(client.failed),
            every.unwrap_or("-".to_owned()),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        lines.push(Line::styled("  none", look.faint()));
        return lines;
    }
    let bad = |at: usize| clients.top.get(at).is_some_and(|c| c.failed > 0);
    let headings = ["ADDRESS", "TRIED", "FAILED", "RHYTHM"];
    lines.extend(small_table(&headings, &[0, 3], &rows, bad, look));
    let listed = clients.top.len() as u64;
    if clients.addresses > listed {
        let more = human::count(clients.addresses - listed);
        lines.push(Line::styled(
            format!("  and {more} other addresses"),
            look.faint(),
        ));
    }
    lines
}

pub(super) fn failures(events: &[Event], width: usize, look: Look) -> Lines {
    let mut lines = vec![title("Last failures", width, look)];
    if events.is_empty() {
        lines.push(Line::styled("  none is remembered", look.faint()));
        return lines;
    }
    let row = |event: &Event| {
        vec![
            clock(event.time),
            event.client.to_string(),
            event.backend.map_or("-".to_owned(), |b| b.to_string()),
            human::printable(&event.outcome).into_owned(),
            human::printable(&event.answered_by).into_owned(),
            event.verdict.as_str().to_owned(),
            human::duration(event.latency),
            human::printable(&event.evidence).into_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    let headings = [
        "TIME", "CLIENT", "BACKEND", "OUTCOME", "BY", "VERDICT", "AFTER", "EVIDENCE",
    ];
    lines.extend(small_table(
        &headings,
        &[0, 1, 2, 3, 4, 5, 7],
        &rows,
        |_| false,
        look,
    ));
    lines
}
