use super::*;

fn event() -> Event {
    Event {
        time: 1_700_000_000.5,
        client: "10.0.1.9:40112".parse().unwrap(),
        address: "10.0.0.1".parse().unwrap(),
        interface: None,
        node_port: 30_102,
        service: Some("thrift/users:api".to_owned()),
        backend: Some("10.244.0.2:9092".parse().unwrap()),
        pod: None,
        outcome: "refused".to_owned(),
        traffic: "unknown".to_owned(),
        answered_by: "backend_rst".to_owned(),
        verdict: Verdict::NothingListens,
        evidence: String::new(),
        latency: 0.0,
    }
}

fn passes(filter: &EventFilter) -> bool {
    filter.lets_through(&event())
}

fn all<T: FromStr<Err = String>>(words: &[&str]) -> Vec<T> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn each_word_restricts_and_lists_are_either() {
    assert!(passes(&EventFilter::default()));
    let clients = |words: &[&str]| {
        passes(&EventFilter {
            clients: all(words),
            ..EventFilter::default()
        })
    };
    assert!(clients(&["10.0.1.0/24"]) && clients(&["fd00::/8", "10.0.1.9"]));
    assert!(!clients(&["10.0.2.0/24"]));
    let backends = |words: &[&str]| {
        passes(&EventFilter {
            backends: all(words),
            ..EventFilter::default()
        })
    };
    assert!(backends(&["10.244.0.2"]) && backends(&["10.244.0.2:9092"]));
    assert!(!backends(&["10.244.0.2:9091", "[fd00::2]:9092"]));
    let services = |words: &[&str]| {
        passes(&EventFilter {
            services: all(words),
            ..EventFilter::default()
        })
    };
    assert!(services(&["thrift/users"]) && services(&["thrift/users:api"]));
    assert!(!services(&[
        "thrift/user",
        "thrift/users:ap",
        "thrift/search"
    ]));
    let verdicts = vec![Verdict::NoEndpoints];
    assert!(!passes(&EventFilter {
        verdicts,
        ..EventFilter::default()
    }));
}

#[test]
fn times_are_absolute_or_ago() {
    let between = |since: &str, until: &str| {
        passes(&EventFilter {
            since: Some(since.parse().unwrap()),
            until: Some(until.parse().unwrap()),
            ..EventFilter::default()
        })
    };
    assert!(between("2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z"));
    assert!(!between("2023-11-14T22:13:21Z", "1s"));
    assert!(!between("10m", "0s"));
    let at: Moment = "2023-11-14T22:13:20Z".parse().unwrap();
    assert_eq!(at.to_string().parse(), Ok(at));
}

#[test]
fn what_is_none_of_them_is_refused_with_an_example() {
    for (error, word) in [
        ("10.0.0".parse::<ClientRange>().unwrap_err(), "10.0.0.0/24"),
        ("pod-7".parse::<BackendAt>().unwrap_err(), "10.0.0.7:9092"),
        ("users".parse::<ServiceAt>().unwrap_err(), "thrift/users"),
        ("a/b/c".parse::<ServiceAt>().unwrap_err(), "thrift/users"),
        ("a/b:c:d".parse::<ServiceAt>().unwrap_err(), "thrift/users"),
        (
            "noon".parse::<Moment>().unwrap_err(),
            "2026-12-01T03:00:00Z",
        ),
    ] {
        assert!(error.contains(word), "{error}");
    }
}
