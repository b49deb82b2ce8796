//! The demo's result as text.

use std::fmt::Write as _;

use super::report::{OUTCOMES, Report, Row, TRAFFIC};

/// Both tables and what to know about them.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!(
        "\ntracer at the node, {} s (columns are label values of its metrics):\n\n",
        report.seconds
    );
    text.push_str(&ports(report));
    text.push('\n');
    for row in &report.ports {
        let _ = writeln!(text, "{}  {:<15} {}", row.node_port, row.service, row.story);
    }
    text.push('\n');
    text.push_str(&accounted(report));
    text.push_str("\nHAProxy, the load balancer, by its own count:\n\n");
    text.push_str(&load_balancer(report));
    let _ = writeln!(
        text,
        "\nmetrics were served at {} in the node's namespace",
        report.metrics_url
    );
    text
}

/// Whether all attempts are accounted for; else those of which ports are not.
fn accounted(report: &Report) -> String {
    let rows = || report.ports.iter().chain([&report.total]);
    if rows().all(|row| row.unaccounted == 0) {
        return "every attempt is accounted for: outcomes + pending + untracked = attempts\n"
            .into();
    }
    let mut text = String::new();
    for row in rows().filter(|row| row.unaccounted != 0) {
        let (service, missing) = (row.service, row.unaccounted);
        let _ = writeln!(
            text,
            "{service}: attempts less outcomes, pending, untracked = {missing}"
        );
    }
    text
}

/// The table of ports, and whether it adds up.
pub(super) fn summary(report: &Report) -> String {
    format!("{}\n{}", ports(report), accounted(report))
}

/// A column of counts.
type Count = (&'static str, Box<dyn Fn(&Row) -> u64>);

fn outcome_columns() -> Vec<Count> {
    let of = |name| -> Count {
        (
            name,
            Box::new(move |row| row.outcomes.get(name).copied().unwrap_or(0)),
        )
    };
    let mut columns: Vec<Count> = OUTCOMES.into_iter().map(of).collect();
    columns.push(("pending", Box::new(|row| row.pending)));
    columns.push(("untracked", Box::new(|row| row.untracked)));
    columns
}

fn traffic_columns() -> Vec<Count> {
    let of = |name| -> Count {
        (
            name,
            Box::new(move |row| row.traffic.get(name).copied().unwrap_or(0)),
        )
    };
    TRAFFIC.into_iter().map(of).collect()
}

fn ports(report: &Report) -> String {
    let rows: Vec<&Row> = report.ports.iter().chain([&report.total]).collect();
    // A column of nothing but zeros says nothing.
    let used = |column: &Count| rows.iter().any(|row| (column.1)(row) > 0);
    let outcomes: Vec<Count> = outcome_columns().into_iter().filter(used).collect();
    let classes: Vec<Count> = traffic_columns().into_iter().filter(used).collect();

    let mut head = vec!["NodePort", "Service", "attempts", "|"];
    head.extend(outcomes.iter().map(|column| column.0));
    head.push("|");
    head.extend(classes.iter().map(|column| column.0));
    head.extend(["|", "answer"]);
    let mut lines = vec![head.into_iter().map(str::to_owned).collect()];
    for row in rows {
        let number = |n: u64| {
            if n == 0 {
                ".".to_owned()
            } else {
                n.to_string()
            }
        };
        let port = Some(row.node_port).filter(|port| *port > 0);
        let mut line = vec![
            port.map_or_else(String::new, |port| port.to_string()),
            row.service.to_owned(),
            number(row.attempts),
            "|".to_owned(),
        ];
        line.extend(outcomes.iter().map(|column| number((column.1)(row))));
        line.push("|".to_owned());
        line.extend(classes.iter().map(|column| number((column.1)(row))));
        line.push("|".to_owned());
        line.push(answer(row));
        lines.push(line);
    }
    align(&lines, &["Service", "answer"])
}

/// The most frequent answer. How long it took stands in what `explain` says: the buckets
/// that are exported are too wide for it.
fn answer(row: &Row) -> String {
    if row.node_port == 0 {
        return String::new();
    }
    let most = row.answers.iter().max_by_key(|(_, count)| **count);
    most.map_or("none", |(answer, _)| answer).to_owned()
}

fn load_balancer(report: &Report) -> String {
    let head = [
        "Service",
        "server",
        "failed checks while up",
        "last check",
        "sessions",
        "connection errors",
        "Thrift calls ok",
        "failed",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for (service, stat) in &report.haproxy {
        let calls = report.clients.get(service);
        let call = |count: Option<u64>| count.map_or(".".to_owned(), |n| n.to_string());
        lines.push(vec![
            (*service).to_owned(),
            stat.status.clone(),
            stat.failed_checks.to_string(),
            format!("{} {}", stat.last_check, stat.last_check_text)
                .trim()
                .to_owned(),
            stat.sessions.to_string(),
            stat.connection_errors.to_string(),
            call(calls.map(|c| c.ok)),
            call(calls.map(|c| c.failed)),
        ]);
    }
    align(&lines, &["Service", "server", "last check"])
}

/// Columns as wide as their widest cell, two spaces between; numbers to the right, the columns
/// named in `left` to the left.
pub(super) fn align(lines: &[Vec<String>], left: &[&str]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut out = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if lines
                .first()
                .is_some_and(|head| left.contains(&head[column].as_str()))
            {
                write!(out, "{cell:<width$}  ")
            } else {
                write!(out, "{cell:>width$}  ")
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = [["name", "n"], ["µ", "10"]].map(|l| l.map(str::to_owned).to_vec());
        assert_eq!(align(&lines, &["name"]), "name   n\nµ     10\n");
    }
}
