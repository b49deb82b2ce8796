use tracer_common::{
    counters::{Cell, PortCounters, Tally as _},
    failure::Failure,
    first_bytes::{MessageType, Protocol},
    words::{Answer, Close, LocalOutcome, Lost, Outcome, ResetOrigin, Retransmit, Traffic},
};

use std::sync::Arc;

use super::*;
use crate::{
    counted::Counted,
    recorder::{Listed, Scrape},
    services::Health,
    snapshot::{HookStatus, SOCKET_STATE, Snapshot, WIRE},
    verdict::Verdict,
};

const COMMIT: &str = crate::build_info::COMMIT;

fn counters(cells: &[(Cell, i64)]) -> Counted {
    let mut counters = Counted::default();
    for (cell, value) in cells {
        counters.add(*cell, *value);
    }
    counters
}

/// A port that has seen everything.
fn busy() -> Counted {
    let mut counters = counters(&[
        (Cell::ATTEMPTS, 30),
        (Cell::PENDING, 2),
        (Cell::UNTRACKED, 1),
        (Cell::handshake(Outcome::Established, Traffic::Thrift), 11),
        (Cell::handshake(Outcome::Established, Traffic::Other), 1),
        (
            Cell::handshake(Outcome::Established, Traffic::HealthCheck),
            4,
        ),
        (Cell::handshake(Outcome::HalfOpen, Traffic::HealthCheck), 3),
        (Cell::handshake(Outcome::Refused, Traffic::Unknown), 5),
        (Cell::handshake(Outcome::TimedOut, Traffic::HealthCheck), 2),
        (Cell::handshake(Outcome::Cancelled, Traffic::Idle), 1),
        (Cell::connection(Traffic::Thrift), 10),
        (Cell::connection(Traffic::HealthCheck), 4),
        (Cell::connection(Traffic::Unknown), 1),
        (Cell::open(Traffic::Thrift), 7),
        (Cell::open(Traffic::Idle), -1),
        (Cell::close(Close::ClientFin, Traffic::Thrift), 2),
        (Cell::close(Close::ServerRst, Traffic::Thrift), 1),
        (Cell::close(Close::TimeoutIdle, Traffic::HealthCheck), 4),
        (Cell::retransmit(Retransmit::SynAck), 6),
        (Cell::reset(ResetOrigin::Backend), 8),
        (Cell::reset(ResetOrigin::Unknown), 9),
        (Cell::local_connect(LocalOutcome::NoSource), 1),
        (Cell::message(MessageType::Call, Protocol::Binary), 12),
        (Cell::message(MessageType::Exception, Protocol::Header), 1),
    ]);
    for ns in [80_000, 100_000, 1_000_000_000, 60_000_000_000] {
        counters.answered(Answer::SynAck, ns);
    }
    counters.answered(Answer::Rst, 250_001);
    counters
}

fn hook(hook: &'static str, mode: &'static str, attached: bool) -> HookStatus {
    HookStatus {
        hook,
        mode,
        attached,
        detail: String::new(),
    }
}

fn snapshot() -> Snapshot {
    let quiet = counters(&[
        (Cell::ATTEMPTS, 1),
        (Cell::handshake(Outcome::Unreachable, Traffic::Unknown), 1),
    ]);
    let mut lost = [0; Lost::COUNT];
    lost[Lost::Fragment.index()] = 2;
    Snapshot {
        ports: vec![(30080, busy()), (32767, quiet)],
        lost,
        flows: 9,
        sharing: vec![],
        misses: 0,
        addresses: 2,
        flows_capacity: 65_536,
        hooks: vec![
            hook(WIRE, "tcx", true),
            hook(WIRE, "packet", true),
            hook(WIRE, "packet", false),
            hook(SOCKET_STATE, "tp_btf", true),
            hook("kfree_skb", "none", false),
        ],
    }
}

/// The failures of [`snapshot`]: those of one port are explained but for one.
fn scrape() -> Scrape {
    let mut busy = [0; Verdict::COUNT];
    busy[Verdict::NothingListens.index()] = 5;
    busy[Verdict::AcceptQueueFull.index()] = 2;
    busy[Verdict::Unexplained.index()] = 1;
    let mut quiet = [0; Verdict::COUNT];
    quiet[Verdict::NoEndpoints.index()] = 1;
    let mut bad = [0; Failure::COUNT];
    bad[Failure::Refused.index()] = 5;
    bad[Failure::Late.index()] = 3;
    let mut rest = [0; Failure::COUNT];
    rest[Failure::TimedOut.index()] = 2;
    let snapshot = snapshot();
    Scrape {
        listed: Listed::all(&snapshot.ports, &[(30080, busy), (32767, quiet)]),
        snapshot: snapshot.into(),
        backends: Some(vec![
            (30080, Some("10.0.0.7:9092".parse().unwrap()), bad),
            (30080, Some("[fd00::7]:9092".parse().unwrap()), bad),
            (30080, None, rest),
        ]),
        names: crate::services::Table::named(30080, "thrift", "users", "api").into(),
        kubernetes: Some(Arc::new(Health::default())),
        namespaces: 3,
        clock_steps: 1,
        late_rounds: 4,
    }
}

const PROCESS: Process = Process {
    cpu_seconds: Some(1.25),
    resident_bytes: Some(20_480),
    virtual_bytes: Some(409_600),
    open_fds: Some(17),
    max_fds: None,
    start_seconds: Some(1_700_000_000.5),
};

fn page(format: Format) -> String {
    render(scrape(), PROCESS, format)
        .unwrap()
        .replace(&format!("commit=\"{COMMIT}\""), "commit=\"COMMIT\"")
}

/// Compares with a file beside this one; `TRACER_BLESS=1` writes it anew.
fn compare(name: &str, page: &str) {
    let path = format!("{}/src/metrics/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TRACER_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (line, (got, expected)) in page.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, expected, "{name}:{}", line + 1);
    }
    assert_eq!(page.len(), expected.len(), "{name}");
}

#[test]
fn openmetrics_page() {
    compare("expected.openmetrics", &page(Format::OpenMetrics));
}

#[test]
fn text_page() {
    compare("expected.txt", &page(Format::Text));
}

/// The value of every sample whose name and labels start like this, summed.
fn sum(page: &str, start: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(start));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

#[test]
fn the_identity_can_be_checked_from_outside() {
    let page = page(Format::Text);
    for (port, counters) in snapshot().ports {
        assert!(PortCounters::from(&counters).balances());
        let of = |name: &str| sum(&page, &format!("{name}{{node_port=\"{port}\""));
        let accounted = of("tracer_handshakes_total")
            + of("tracer_handshakes_pending")
            + of("tracer_untracked_syns_total");
        assert_eq!(of("tracer_attempts_total"), accounted, "{port}");
    }
}

#[test]
fn failed_outcomes_are_as_many_as_verdicts() {
    let page = page(Format::Text);
    for port in [30080, 32767] {
        let handshakes = format!("tracer_handshakes_total{{node_port=\"{port}\",outcome=");
        let good = ["established", "half_open"].map(|o| format!("{handshakes}\"{o}\""));
        let failed = sum(&page, &handshakes) - sum(&page, &good[0]) - sum(&page, &good[1]);
        let name = "tracer_handshake_failures_total";
        let judged = sum(&page, &format!("{name}{{node_port=\"{port}\""));
        assert_eq!(failed, judged, "{port}");
    }
}

#[test]
fn backends_have_no_series_unless_asked_for() {
    let mut scrape = scrape();
    scrape.backends = None;
    let page = render(scrape, PROCESS, Format::Text).unwrap();
    assert!(!page.contains("backend_failures"));
    assert!(page.contains("verdict=\"unexplained\"} 1\n"), "{page}");
}

#[test]
fn every_outcome_has_a_series_from_the_first_attempt_on() {
    let page = page(Format::Text);
    for outcome in Outcome::ALL {
        let series = format!(
            "tracer_handshakes_total{{node_port=\"32767\",outcome=\"{}\"",
            outcome.as_str()
        );
        assert!(page.contains(&series), "{series}");
    }
}

/// Names and labels of the page of a port with these cells.
fn series(cells: &[(Cell, i64)]) -> std::collections::BTreeSet<String> {
    let mut scrape = scrape();
    scrape.listed.ports = vec![(Some(30080), counters(cells))];
    let page = render(scrape, PROCESS, Format::Text).unwrap();
    let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    lines.map(|(series, _)| series.to_owned()).collect()
}

#[test]
fn no_series_vanishes_when_an_idle_connection_is_used() {
    let answered = (Cell::latency(Answer::SynAck, 0), 1);
    let unknown = series(&[answered, (Cell::open(Traffic::Unknown), 1)]);
    let idle = series(&[answered, (Cell::open(Traffic::Idle), 1)]);
    let used = series(&[
        answered,
        (Cell::open(Traffic::Thrift), 1),
        (Cell::connection(Traffic::Thrift), 1),
    ]);
    assert!(unknown.is_subset(&idle) && idle.is_subset(&used));
    assert!(used.iter().any(|s| s.contains("closes_total")));
}

#[test]
fn series_are_unique() {
    let page = page(Format::OpenMetrics);
    let mut seen = std::collections::HashSet::new();
    for (series, _) in page
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.rsplit_once(' '))
    {
        assert!(seen.insert(series.to_owned()), "{series}");
    }
}

#[test]
fn histograms_are_cumulative() {
    let page = page(Format::Text);
    let of = |rest: &str| sum(&page, &format!("tracer_handshake_answer_seconds_{rest}"));
    let labels = "node_port=\"30080\",answer=\"syn_ack\"}";
    assert_eq!(of(&format!("bucket{{le=\"0.0001\",{labels}")), 2.0);
    assert_eq!(of(&format!("bucket{{le=\"0.9\",{labels}")), 2.0);
    assert_eq!(of(&format!("bucket{{le=\"1.5\",{labels}")), 3.0);
    assert_eq!(of(&format!("bucket{{le=\"+Inf\",{labels}")), 4.0);
    assert_eq!(of(&format!("count{{{labels}")), 4.0);
    assert_eq!(of(&format!("sum{{{labels}")), 61.000_18);
}
