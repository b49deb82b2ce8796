//! Arguments of the commands.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tracer_common::failure::Failure;

use crate::{
    config::Settings,
    recorder::{BackendAt, ClientRange, EventFilter, LONGEST, Moment, ServiceAt},
    top::Column,
    verdict::Verdict,
};

/// Arguments of the commands that load programs.
#[derive(Debug, Args)]
pub struct Common {
    /// YAML file with settings
    #[arg(long, value_name = "FILE", env = "TRACER_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Arguments of `tracer explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// How far to look back (without a daemon: how long to watch); 1s to 15m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = window)]
    pub last: Duration,
    /// Port to explain (repeatable) [default: all with attempts]
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = port())]
    pub ports: Vec<u16>,
    /// Give every healthy port a row of its own, however many there are
    #[arg(long)]
    pub all: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Where the daemon is, and settings for a watch without one.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `tracer events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Go on with each failure as it happens
    #[arg(short, long)]
    pub follow: bool,
    /// Port whose failures are listed (repeatable) [default: all]
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = port())]
    pub ports: Vec<u16>,
    /// What went wrong (repeatable) [default: anything]
    #[arg(
        long = "outcome",
        value_name = "OUTCOME",
        value_delimiter = ',',
        value_parser = outcome()
    )]
    pub outcomes: Vec<Failure>,
    #[command(flatten)]
    pub wanted: Wanted,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Where the daemon is, and settings for a watch without one.
    #[command(flatten)]
    pub common: Common,
}

impl Events {
    /// Which failures are wanted.
    #[must_use]
    pub fn filter(&self) -> EventFilter {
        EventFilter {
            ports: self.ports.clone(),
            outcomes: self.outcomes.clone(),
            clients: self.wanted.clients.clone(),
            backends: self.wanted.backends.clone(),
            services: self.wanted.services.clone(),
            verdicts: self.wanted.verdicts.clone(),
            since: self.wanted.since,
            until: self.wanted.until,
        }
    }
}

/// Which failures of those ports and outcomes.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Client address or range whose failures are listed (repeatable) [default: all]
    #[arg(long = "client", value_name = "CIDR", value_delimiter = ',')]
    pub clients: Vec<ClientRange>,
    /// Backend that NAT chose, with its port or without (repeatable) [default: any]
    #[arg(long = "backend", value_name = "ADDRESS[:PORT]", value_delimiter = ',')]
    pub backends: Vec<BackendAt>,
    /// Service whose failures are listed (repeatable) [default: all]
    #[arg(
        id = "of_service",
        long = "service",
        value_name = "NAMESPACE/NAME[:PORT]",
        value_delimiter = ','
    )]
    pub services: Vec<ServiceAt>,
    /// Verdict on the failure (repeatable) [default: any]
    #[arg(long = "verdict", value_name = "VERDICT", value_delimiter = ',',
          value_parser = verdict(), hide_possible_values = true)]
    pub verdicts: Vec<Verdict>,
    /// Failures from this time on: RFC 3339, or how long ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Failures up to this time, likewise
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    pub until: Option<Moment>,
}

/// Arguments of `tracer top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Print refreshes one after the other instead of drawing on the terminal
    #[arg(short, long)]
    pub batch: bool,
    /// Refreshes until it ends [default: no end; 1 where standard output is no
    /// terminal and --batch is not given]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Time between two refreshes, in seconds; 0.2 to 3600
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = delay)]
    pub delay: Duration,
    /// Window that counts are about, up to now; 1s to 15m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = window)]
    pub last: Duration,
    /// Count since the daemon's start instead of in the window
    #[arg(long)]
    pub totals: bool,
    /// Column to sort by: numbers the largest first, names in order
    #[arg(long, value_name = "COLUMN", default_value = "failed", hide_default_value = false,
          value_parser = column())]
    pub sort: Column,
    /// Turn the order round
    #[arg(short, long)]
    pub reverse: bool,
    /// Show ports with all these words in their number, Service, failed outcomes
    /// or verdict; `failing` is in all that fail
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true
    )]
    pub filter: String,
    /// Form of the output; json: one object a refresh, without the terminal
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Where the daemon is, and settings for a watch without one.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `tracer health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Ask only whether the daemon answers, as /livez does
    #[arg(long)]
    pub live: bool,
    /// Where the daemon is.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `tracer replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Capture, pcap or pcapng, gzip or not, in the order of writing; `-` is
    /// standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Address of the node (repeatable) [default: wherever SYNs to --node-ports
    /// go]
    #[arg(long = "node-address", value_name = "ADDRESS", value_delimiter = ',')]
    pub node_addresses: Vec<IpAddr>,
    /// Failures to list one by one
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub failures: usize,
    /// Give every healthy port a row of its own, however many there are
    #[arg(long)]
    pub all: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Write the metrics that the daemon would serve after this traffic
    #[arg(long, conflicts_with = "output")]
    pub openmetrics: bool,
    /// Settings of the daemon whose numbers these shall be.
    #[command(flatten)]
    pub common: Common,
}

fn port() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..)
}

fn outcome() -> impl TypedValueParser<Value = Failure> {
    let words = Failure::ALL.iter().map(|failure| failure.as_str());
    PossibleValuesParser::new(words).try_map(|word| {
        let known = Failure::ALL.iter().find(|failure| failure.as_str() == word);
        known.copied().ok_or("no such outcome")
    })
}

fn verdict() -> impl TypedValueParser<Value = Verdict> {
    let words = Verdict::ALL.iter().map(|verdict| verdict.as_str());
    PossibleValuesParser::new(words).try_map(|word| {
        let known = Verdict::ALL.iter().find(|verdict| verdict.as_str() == word);
        known.copied().ok_or("no such verdict")
    })
}

fn column() -> impl TypedValueParser<Value = Column> {
    PossibleValuesParser::new(Column::sortable())
        .try_map(|name| Column::named(&name).ok_or("no such column"))
}

fn delay(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>();
    match seconds {
        Ok(seconds) if (0.2..=3_600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) => Err(format!("`{text}` is not between 0.2 and 3600 seconds")),
        Err(_) => Err(format!("`{text}` is no number of seconds such as 2 or 0.5")),
    }
}

const LAST_MIN: Duration = Duration::from_secs(1);

fn window(text: &str) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|e| format!("`{text}` is no duration such as 60s or 10m: {e}"))?;
    if (LAST_MIN..=LONGEST).contains(&value) {
        Ok(value)
    } else {
        let longest = humantime::format_duration(LONGEST);
        Err(format!("`{text}` is not between 1s and {longest}"))
    }
}
