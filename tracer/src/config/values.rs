//! Types of configuration values: each checks its own text, wherever the text
//! comes from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use tracer_common::first_bytes::ProbeMethods;

/// A duration from `MIN_MS` to `MAX_MS` milliseconds, written `5s`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Between<const MIN_MS: u64, const MAX_MS: u64>(pub(super) Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> FromStr for Between<MIN_MS, MAX_MS> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = humantime::parse_duration(text)
            .map_err(|e| format!("`{text}` is no duration such as 5s or 500ms: {e}"))?;
        let (min, max) = (Duration::from_millis(MIN_MS), Duration::from_millis(MAX_MS));
        if value < min || value > max {
            let (min, max) = (format_duration(min), format_duration(max));
            return Err(format!("`{text}` is not between {min} and {max}"));
        }
        Ok(Self(value))
    }
}

fn format_duration(value: Duration) -> impl fmt::Display {
    humantime::format_duration(value)
}

/// Name of a network interface (`IFNAMSIZ` of if.h, `dev_valid_name` of the kernel).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Interface(pub(super) String);

impl FromStr for Interface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > 15 || text.contains(bad) || [".", ".."].contains(&text) {
            return Err(format!("`{text}` is no interface name (1 to 15 bytes)"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Name of a Kubernetes Node: a DNS subdomain (RFC 1123).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct NodeName(pub(super) String);

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let label = |label: &str| match label.as_bytes() {
            [first, .., last] => plain(*first) && plain(*last),
            [only] => plain(*only),
            [] => false,
        };
        let all = text.bytes().all(|c| plain(c) || c == b'-' || c == b'.');
        if text.len() > 253 || !all || !text.split('.').all(label) {
            return Err(format!(
                "`{text}` is no name of a Node such as ip-10-0-3-18.ec2.internal (`kubectl get nodes`)"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A range of addresses, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Cidr(pub(super) IpNet);

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse().map(IpAddr::into));
        let cause = "is no range of addresses such as 10.0.0.0/8 or fd00::/8";
        net.map(Self).map_err(|_| format!("`{text}` {cause}"))
    }
}

/// Name of a Thrift method that health checkers call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ProbeMethod(pub(super) String);

impl FromStr for ProbeMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let checked = ProbeMethods::new().push(text);
        checked.map_err(|e| format!("`{text}`: {e}"))?;
        Ok(Self(text.to_owned()))
    }
}

/// Size of the flow table.
pub(super) type Flows = Number<64, 4_194_304>;

/// Address and port to serve on; `:9400` is every IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Listen(pub(super) SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = match text.strip_prefix(':').map(str::parse) {
            Some(Ok(port)) => Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
            Some(Err(_)) => None,
            None => text.parse().ok(),
        };
        let address = address.ok_or_else(|| {
            format!("`{text}` is no address such as 127.0.0.1:9400, [::]:9400 or :9400")
        })?;
        Ok(Self(address))
    }
}

/// URL path of the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct TelemetryPath(pub(super) String);

impl FromStr for TelemetryPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        if !text.starts_with('/') || text.starts_with("//") || !text.chars().all(plain) {
            return Err(format!("`{text}` is no URL path such as /metrics"));
        }
        if ["/", "/livez", "/readyz"].contains(&text) {
            return Err(format!("`{text}` is taken by another page"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where the socket of `tracer explain` and `tracer events` is when nobody says.
pub const DEFAULT_SOCKET: &str = "/run/tracer/tracer.sock";

/// The unix socket that answers `tracer explain` and `tracer events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Socket {
    /// At [`DEFAULT_SOCKET`], if it can be made there.
    #[default]
    Default,
    /// At this absolute path.
    At(PathBuf),
    /// There is none.
    Off,
}

impl Socket {
    /// The path, unless there is no socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Default => Some(Path::new(DEFAULT_SOCKET)),
            Self::At(path) => Some(path),
            Self::Off => None,
        }
    }
}

impl FromStr for Socket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Off),
            _ if text.starts_with('/') && !text.ends_with('/') => Ok(Self::At(text.into())),
            _ => Err(format!(
                "`{text}` is no absolute path such as {DEFAULT_SOCKET}, nor `none`"
            )),
        }
    }
}

/// A number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Number<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> FromStr for Number<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("`{text}` is no number from {MIN} to {MAX}")),
        }
    }
}

impl<const MIN: u32, const MAX: u32> TryFrom<String> for Number<MIN, MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// `serde(try_from = "String")` for types that parse themselves.
macro_rules! from_string {
    ($($name:ty),+) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )+};
}
from_string!(
    Cidr,
    Interface,
    NodeName,
    ProbeMethod,
    Listen,
    Socket,
    TelemetryPath
);

impl<const MIN_MS: u64, const MAX_MS: u64> TryFrom<String> for Between<MIN_MS, MAX_MS> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
