//! Parameters of requests; what is not understood is refused by name.

use std::{str::FromStr, time::Duration};

use tracer_common::failure::Failure;

use crate::{
    recorder::{EventFilter, LONGEST, TopAsked},
    verdict::Verdict,
};

const SHORTEST: Duration = Duration::from_secs(1);
const DEFAULT: Duration = Duration::from_secs(60);

/// Parameters of `GET /v1/explain`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExplainQuery {
    pub(super) last: Duration,
    /// Empty: all.
    pub(super) ports: Vec<u16>,
}

impl ExplainQuery {
    /// # Errors
    /// Names the parameter and says what it may be.
    pub(super) fn parse(query: &str, watched: impl Fn(u16) -> bool) -> Result<Self, String> {
        let (mut last, mut ports) = (DEFAULT, Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "last" => last = duration("last", &value)?,
                "port" => ports.push(port(&value, &watched)?),
                _ => return Err(unknown(&name, "last and port")),
            }
        }
        Ok(Self { last, ports })
    }
}

const EVENTS: &str = "follow, port, outcome, client, backend, service, verdict, since and until";

/// Parameters of `GET /v1/events`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventsQuery {
    pub(super) follow: bool,
    pub(super) filter: EventFilter,
}

impl EventsQuery {
    /// # Errors
    /// Names the parameter and says what it may be.
    pub(super) fn parse(query: &str, watched: impl Fn(u16) -> bool) -> Result<Self, String> {
        let (mut follow, mut filter) = (false, EventFilter::default());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "follow" => {
                    let neither =
                        |_| format!("follow: `{}` is neither true nor false", short(&value));
                    follow = value.parse().map_err(neither)?;
                }
                "port" => filter.ports.push(port(&value, &watched)?),
                "outcome" => filter.outcomes.push(outcome(&value)?),
                "client" => filter.clients.push(read(&name, &value)?),
                "backend" => filter.backends.push(read(&name, &value)?),
                "service" => filter.services.push(read(&name, &value)?),
                "verdict" => filter.verdicts.push(verdict(&value)?),
                "since" => filter.since = Some(read(&name, &value)?),
                "until" => filter.until = Some(read(&name, &value)?),
                _ => return Err(unknown(&name, EVENTS)),
            }
        }
        Ok(Self { follow, filter })
    }
}

/// Parameters of `GET /v1/top`.
///
/// # Errors
/// Names the parameter and says what it may be.
pub(super) fn top(query: &str, watched: impl Fn(u16) -> bool) -> Result<TopAsked, String> {
    let mut asked = TopAsked {
        last: DEFAULT,
        history: Duration::ZERO,
        port: None,
    };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "last" => asked.last = duration("last", &value)?,
            "history" => asked.history = duration("history", &value)?,
            "port" => asked.port = Some(port(&value, &watched)?),
            _ => return Err(unknown(&name, "last, history and port")),
        }
    }
    Ok(asked)
}

fn unknown(name: &str, known: &str) -> String {
    let name = short(name);
    format!("`{name}` is no parameter; there are {known}")
}

fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let shown = short(text);
    let value = humantime::parse_duration(text)
        .map_err(|e| format!("{name}: `{shown}` is no duration such as 60s or 5m: {e}"))?;
    if (SHORTEST..=LONGEST).contains(&value) {
        return Ok(value);
    }
    let [min, max] = [SHORTEST, LONGEST].map(humantime::format_duration);
    Err(format!("{name}: `{shown}` is not between {min} and {max}"))
}

fn port(text: &str, watched: impl Fn(u16) -> bool) -> Result<u16, String> {
    let shown = short(text);
    match text.parse() {
        Ok(port) if watched(port) => Ok(port),
        Ok(port) => Err(format!(
            "port: {port} is not watched; give one of the daemon's --node-ports"
        )),
        Err(_) => Err(format!("port: `{shown}` is no port number")),
    }
}

fn outcome(text: &str) -> Result<Failure, String> {
    let found = Failure::ALL.iter().find(|f| f.as_str() == text);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = Failure::ALL.iter().map(|f| f.as_str()).collect();
        let shown = short(text);
        format!("outcome: `{shown}` is none of {}", known.join(", "))
    })
}

fn verdict(text: &str) -> Result<Verdict, String> {
    let found = Verdict::ALL.iter().find(|v| v.as_str() == text);
    let shown = short(text);
    let none = || format!("verdict: `{shown}` is none; docs/words.md lists them");
    found.copied().ok_or_else(none)
}

/// Reads a parameter that says itself what it may be.
fn read<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T, String> {
    let cut = |e: String| format!("{name}: {}", e.chars().take(160).collect::<String>());
    text.parse().map_err(cut)
}

/// What may be repeated of a client's text.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHED: fn(u16) -> bool = |port| port >= 30_000;

    #[test]
    fn parameters_may_be_absent_repeated_and_encoded() {
        let asked = ExplainQuery::parse("", WATCHED).unwrap();
        assert_eq!((asked.last, asked.ports), (DEFAULT, vec![]));
        let asked = ExplainQuery::parse("port=30102&last=1m%2030s&port=30103", WATCHED).unwrap();
        assert_eq!(asked.last, Duration::from_secs(90));
        assert_eq!(asked.ports, [30102, 30103]);
        let asked = EventsQuery::parse("follow=true&outcome=refused&outcome=late", WATCHED);
        let asked = asked.unwrap();
        assert!(asked.follow);
        assert_eq!(asked.filter.outcomes, [Failure::Refused, Failure::Late]);
    }

    #[test]
    fn a_filter_comes_as_it_was_asked_for() {
        fn all<T: FromStr<Err = String>>(words: &[&str]) -> Vec<T> {
            words.iter().map(|word| word.parse().unwrap()).collect()
        }
        let filter = EventFilter {
            ports: vec![30_102],
            outcomes: vec![Failure::TimedOut],
            clients: all(&["10.0.0.0/8", "fd00::1"]),
            backends: all(&["[fd00::7]:9092", "10.0.0.7"]),
            services: all(&["thrift/users:api"]),
            verdicts: vec![Verdict::NothingListens],
            since: Some("2026-12-01T03:00:00.5Z".parse().unwrap()),
            until: Some("2026-12-01T03:10:00Z".parse().unwrap()),
        };
        let asked = EventsQuery::parse(&filter.query().join("&"), WATCHED).unwrap();
        assert_eq!((asked.follow, asked.filter), (false, filter));
        for (query, words) in [
            ("client=lb", "client: `lb` is no address or range"),
            ("verdict=odd", "verdict: `odd` is none"),
            ("since=noon", "since: `noon` is no time such as"),
        ] {
            let error = EventsQuery::parse(query, WATCHED).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn refusals_name_the_parameter_and_the_remedy() {
        let long = "x".repeat(10_000);
        for (query, words) in [
            ("last=60", "last: `60` is no duration such as 60s"),
            ("last=1ms", "last: `1ms` is not between 1s and 15m"),
            ("last=16m", "between 1s and 15m"),
            ("port=http", "port: `http` is no port number"),
            ("port=80", "port: 80 is not watched; give one of"),
            (
                "ports=30102",
                "`ports` is no parameter; there are last and port",
            ),
            (&*long, "is no parameter"),
        ] {
            let error = ExplainQuery::parse(query, WATCHED).unwrap_err();
            assert!(error.contains(words) && error.len() < 200, "{error}");
        }
        for (query, words) in [
            ("follow=1", "follow: `1` is neither true nor false"),
            (
                "outcome=established",
                "outcome: `established` is none of refused, ",
            ),
        ] {
            let error = EventsQuery::parse(query, WATCHED).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
