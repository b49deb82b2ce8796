//! Which failures are wanted, as words of the command line and of requests.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use tracer_common::failure::Failure;

use crate::{human, report::Event, verdict::Verdict};

/// Which failures; an empty list is no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// At these ports.
    pub ports: Vec<u16>,
    /// That went wrong so.
    pub outcomes: Vec<Failure>,
    /// Of these clients.
    pub clients: Vec<ClientRange>,
    /// That NAT sent there.
    pub backends: Vec<BackendAt>,
    /// At the ports of these Services.
    pub services: Vec<ServiceAt>,
    /// With these verdicts.
    pub verdicts: Vec<Verdict>,
    /// Decided then or later.
    pub since: Option<Moment>,
    /// Decided then or before.
    pub until: Option<Moment>,
}

impl EventFilter {
    /// The filter as parameters of a request.
    #[must_use]
    pub fn query(&self) -> Vec<String> {
        fn all<T: ToString>(name: &str, values: &[T]) -> Vec<String> {
            let encoded = |value: &T| {
                let value = value.to_string();
                let value = form_urlencoded::byte_serialize(value.as_bytes());
                format!("{name}={}", String::from_iter(value))
            };
            values.iter().map(encoded).collect()
        }
        let outcomes = Vec::from_iter(self.outcomes.iter().map(|o| o.as_str()));
        let verdicts = Vec::from_iter(self.verdicts.iter().map(|v| v.as_str()));
        [
            all("port", &self.ports),
            all("outcome", &outcomes),
            all("client", &self.clients),
            all("backend", &self.backends),
            all("service", &self.services),
            all("verdict", &verdicts),
            all("since", self.since.as_slice()),
            all("until", self.until.as_slice()),
        ]
        .concat()
    }

    pub(super) fn lets_through(&self, event: &Event) -> bool {
        fn any<T>(all: &[T], fits: impl Fn(&T) -> bool) -> bool {
            all.is_empty() || all.iter().any(fits)
        }
        let seconds = |moment: Moment| {
            let since = moment.0.duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0.0, |since| since.as_secs_f64())
        };
        any(&self.ports, |port| *port == event.node_port)
            && any(&self.outcomes, |o| o.as_str() == event.outcome)
            && any(&self.clients, |range| range.0.contains(&event.client.ip()))
            && any(&self.backends, |at| event.backend.is_some_and(|b| at.is(b)))
            && any(&self.services, |at| {
                event.service.as_deref().is_some_and(|name| at.is(name))
            })
            && any(&self.verdicts, |verdict| *verdict == event.verdict)
            && self.since.is_none_or(|since| event.time >= seconds(since))
            && self.until.is_none_or(|until| event.time <= seconds(until))
    }
}

/// An address or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRange(IpNet);

impl FromStr for ClientRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let range =
            range.map_err(|_| format!("`{text}` is no address or range such as 10.0.0.0/24"));
        range.map(Self)
    }
}

impl fmt::Display for ClientRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address of a backend, at any port or at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendAt(IpAddr, Option<u16>);

impl BackendAt {
    fn is(self, backend: SocketAddr) -> bool {
        self.0 == backend.ip() && self.1.is_none_or(|port| port == backend.port())
    }
}

impl FromStr for BackendAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self(at.ip(), Some(at.port())));
        }
        let ip = text.parse().map_err(|_| {
            format!("`{text}` is no backend such as 10.0.0.7, 10.0.0.7:9092 or [fd00::7]:9092")
        });
        Ok(Self(ip?, None))
    }
}

impl fmt::Display for BackendAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(port) => SocketAddr::new(self.0, port).fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// A Service, or one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAt(String);

impl ServiceAt {
    fn is(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.0.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':') && !self.0.contains(':'))
    }
}

impl FromStr for ServiceAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let is_whole = |(namespace, name): (&str, &str)| {
            let plain = |part: &str| !part.is_empty() && !part.contains('/');
            plain(namespace) && !namespace.contains(':') && name.split(':').all(plain)
        };
        match parts.filter(|_| text.matches(':').count() < 2) {
            Some(parts) if is_whole(parts) => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "`{text}` is no Service such as thrift/users or thrift/users:api"
            )),
        }
    }
}

impl fmt::Display for ServiceAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(SystemTime);

impl FromStr for Moment {
    type Err = String;

    /// A duration is that long ago.
    fn from_str(text: &str) -> Result<Self, String> {
        let ago = humantime::parse_duration(text).ok();
        let ago = ago.and_then(|ago| SystemTime::now().checked_sub(ago));
        let at = ago.or_else(|| humantime::parse_rfc3339(text).ok());
        at.map(Self).ok_or_else(|| {
            format!("`{text}` is no time such as 2026-12-01T03:00:00Z, or 10m for ten minutes ago")
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or(Duration::ZERO);
        f.write_str(&human::time(since.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests;
