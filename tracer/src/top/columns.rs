//! The columns of the table: what stands in them, how wide they are, and which of
//! them fit.

use std::cmp::Ordering;

use tracer_common::words::{Outcome, Traffic};

use super::{
    model::{Counts, is_failure},
    ui::Row,
};
use crate::human;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Column {
    Port,
    Service,
    Attempts,
    Established,
    HalfOpen,
    Failed,
    Outcome(Outcome),
    /// The most frequent failed outcome.
    How,
    Why,
    Class(Traffic),
    /// The most frequent class.
    Traffic,
    P50,
    P99,
    Retransmits,
    Open,
    Pending,
    /// Failures over the last minutes.
    History,
}

use Column as C;

pub(super) const REFUSED: C = C::Outcome(Outcome::Refused);
pub(super) const UNREACHABLE: C = C::Outcome(Outcome::Unreachable);
pub(super) const TIMED_OUT: C = C::Outcome(Outcome::TimedOut);
pub(super) const UNACKED: C = C::Outcome(Outcome::Unacked);
pub(super) const CANCELLED: C = C::Outcome(Outcome::Cancelled);
pub(super) const THRIFT: C = C::Class(Traffic::Thrift);
pub(super) const CHECK: C = C::Class(Traffic::HealthCheck);
pub(super) const IDLE: C = C::Class(Traffic::Idle);
pub(super) const OTHER: C = C::Class(Traffic::Other);
pub(super) const UNKNOWN: C = C::Class(Traffic::Unknown);

/// Where there is room for everything.
pub(super) const WIDE: [C; 22] = [
    C::Port,
    C::Service,
    C::Attempts,
    C::Established,
    C::HalfOpen,
    C::Failed,
    REFUSED,
    UNREACHABLE,
    TIMED_OUT,
    UNACKED,
    CANCELLED,
    C::Why,
    THRIFT,
    CHECK,
    IDLE,
    OTHER,
    UNKNOWN,
    C::P50,
    C::P99,
    C::Retransmits,
    C::Open,
    C::History,
];

/// Least and greatest width of [`Column::History`].
pub(super) const HISTORY: (usize, usize) = (8, 60);

impl Column {
    /// Its name in `--sort`.
    pub(super) fn name(self) -> &'static str {
        match self {
            C::Port => "port",
            C::Service => "service",
            C::Attempts => "attempts",
            C::Established => "established",
            C::HalfOpen => "half_open",
            C::Failed | C::History | C::How => "failed",
            C::Outcome(outcome) => outcome.as_str(),
            C::Why => "why",
            C::Class(class) => class.as_str(),
            C::Traffic => "traffic",
            C::P50 => "p50",
            C::P99 => "p99",
            C::Retransmits => "retransmits",
            C::Open => "open",
            C::Pending => "pending",
        }
    }

    /// Those that `--sort` knows.
    pub(crate) fn sortable() -> Vec<&'static str> {
        let all = WIDE.iter().chain([&C::Pending]);
        let all = all.filter(|c| **c != C::History);
        all.map(|column| column.name()).collect()
    }

    /// The column of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = WIDE.iter().chain([&C::Pending]);
        all.find(|column| column.name() == name).copied()
    }

    /// What stands above it.
    pub(super) fn heading(self, totals: bool) -> &'static str {
        match self {
            C::Port => "  PORT",
            C::Service => "SERVICE",
            C::Attempts if totals => "TRIED",
            C::Attempts => "TRY/S",
            C::Established => "ESTAB",
            C::HalfOpen => "HALF",
            C::Failed => "FAILED",
            C::Outcome(Outcome::Unreachable) => "UNREACH",
            C::Outcome(Outcome::TimedOut) => "TIMEOUT",
            C::Outcome(Outcome::Unacked) => "UNACKED",
            C::Outcome(Outcome::Cancelled) => "CANCEL",
            C::Outcome(_) => "REFUSED",
            C::How => "HOW",
            C::Why => "WHY",
            C::Class(Traffic::Thrift) => "THRIFT",
            C::Class(Traffic::HealthCheck) => "CHECK",
            C::Class(Traffic::Idle) => "IDLE",
            C::Class(Traffic::Other) => "OTHER",
            C::Class(Traffic::Unknown) => "UNKNOWN",
            C::Traffic => "TRAFFIC",
            C::P50 => "P50",
            C::P99 => "P99",
            C::Retransmits => "RETR",
            C::Open => "OPEN",
            C::Pending => "PENDING",
            C::History => "FAILURES",
        }
    }

    /// Words stand at the left of their column, numbers at its right.
    pub(super) fn left(self) -> bool {
        matches!(
            self,
            C::Port | C::Service | C::How | C::Why | C::Traffic | C::History
        )
    }

    /// The least width that its content should have, and the greatest.
    pub(super) fn widths(self) -> (usize, usize) {
        match self {
            C::Port => (7, 7),
            C::Service => (7, 20),
            C::How => (7, 14),
            C::Why => (3, 19),
            C::Traffic => (7, 13),
            C::P50 | C::P99 => (7, 7),
            C::History => HISTORY,
            _ => (4, 7),
        }
    }

    /// What stands in it; [`Column::History`] is drawn.
    pub(super) fn text(self, row: &Row<'_>, totals: bool) -> String {
        match self {
            C::Port => format!("{} {}", mark(row), human::node_port(row.port.node_port)),
            C::Service => match &row.port.service {
                Some(service) => human::printable(service).into_owned(),
                None => "-".to_owned(),
            },
            C::Why => row.why.map_or("", |f| f.verdict.as_str()).to_owned(),
            other => other.number(&row.counts, row.rate, totals),
        }
    }

    /// The same for what is only counted.
    pub(super) fn number(self, counts: &Counts, rate: f64, totals: bool) -> String {
        match self {
            C::Attempts if !totals => human::rate(rate),
            C::How => how(counts),
            C::Traffic => traffic(counts),
            C::P50 => latency(counts.answer.map(|a| a.p50)),
            C::P99 => latency(counts.answer.map(|a| a.p99)),
            C::Port | C::Service | C::Why | C::History => String::new(),
            other => match other.value(counts) {
                0 => ".".to_owned(),
                value => human::count(value),
            },
        }
    }

    fn value(self, counts: &Counts) -> u64 {
        match self {
            C::Attempts => counts.attempts,
            C::Established => counts.outcome(Outcome::Established),
            C::HalfOpen => counts.outcome(Outcome::HalfOpen),
            C::Outcome(outcome) => counts.outcome(outcome),
            C::Class(class) => counts.class(class),
            C::Retransmits => counts.retransmits,
            C::Open => counts.open,
            C::Pending => counts.pending,
            _ => counts.failed(),
        }
    }

    /// The order of two rows by this column, the smaller first.
    pub(super) fn compare(self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        let quantile = |row: &Row<'_>, p99: bool| {
            let answer = row.counts.answer;
            answer.map_or(-1.0, |answer| if p99 { answer.p99 } else { answer.p50 })
        };
        let why = |row: &Row<'_>| row.why.map_or("~", |f| f.verdict.as_str());
        match self {
            C::Port => a.port.node_port.cmp(&b.port.node_port),
            C::Service => a.port.service.cmp(&b.port.service),
            C::Why => why(a).cmp(why(b)),
            C::Traffic => traffic(&a.counts).cmp(&traffic(&b.counts)),
            C::P50 => quantile(a, false).total_cmp(&quantile(b, false)),
            C::P99 => quantile(a, true).total_cmp(&quantile(b, true)),
            other => other.value(&a.counts).cmp(&other.value(&b.counts)),
        }
    }
}

/// `!`: a problem that has a name, `?`: failures without one, a blank: neither.
pub(super) fn mark(row: &Row<'_>) -> char {
    match (row.why, row.counts.failed()) {
        (Some(_), _) => '!',
        (None, 0) => ' ',
        (None, _) => '?',
    }
}

fn latency(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), human::latency)
}

/// The most frequent failed outcome; `+2`: there are two others.
fn how(counts: &Counts) -> String {
    let failed = Outcome::ALL.iter().filter(|o| is_failure(**o));
    let failed = failed.map(|o| (counts.outcome(*o), o.as_str()));
    most(failed.filter(|(count, _)| *count > 0).collect())
        .map_or("-".to_owned(), |(_, word, others)| word + &others)
}

/// The most frequent class and its share.
fn traffic(counts: &Counts) -> String {
    let all = Traffic::ALL.iter().map(|t| (counts.class(*t), t.as_str()));
    let all: Vec<(u64, &str)> = all.filter(|(count, _)| *count > 0).collect();
    let sum = all.iter().fold(0.0, |sum, (count, _)| sum + *count as f64);
    most(all).map_or("-".to_owned(), |(count, word, _)| {
        format!("{word} {}", human::share(count as f64 / sum))
    })
}

fn most(mut counts: Vec<(u64, &str)>) -> Option<(u64, String, String)> {
    counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let (count, word) = counts.first()?;
    let others = match counts.len() - 1 {
        0 => String::new(),
        others => format!(" +{others}"),
    };
    Some((*count, human::printable(word).into_owned(), others))
}
