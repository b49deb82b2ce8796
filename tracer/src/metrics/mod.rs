//! The metrics page, made from one snapshot.

mod daemon;
mod family;
mod ports;
mod process;
mod text;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text::encode},
    registry::Registry,
};

use crate::snapshot::Snapshot;

use ports::Port;
pub use process::Process;

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// The page's content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A scrape: everything on its page comes from the same snapshot.
#[derive(Debug)]
struct Scrape {
    ports: Vec<Port>,
    snapshot: Snapshot,
    process: Process,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        ports::encode(&self.ports, &mut encoder)?;
        daemon::encode(&self.snapshot, &mut encoder)?;
        daemon::build(&mut encoder)?;
        daemon::process(&self.process, &mut encoder)
    }
}

/// Writes the page.
///
/// # Errors
/// When the encoder refuses a value; there is no half page.
pub fn render(
    mut snapshot: Snapshot,
    process: Process,
    format: Format,
) -> Result<String, fmt::Error> {
    let ports: Vec<Port> = std::mem::take(&mut snapshot.ports)
        .into_iter()
        .map(Port::new)
        .collect();
    // A port has about 80 series, most of less than 100 bytes.
    let mut page = String::with_capacity(8192 * (ports.len() + 1));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        ports,
        snapshot,
        process,
    }));
    encode(&mut page, &registry)?;
    Ok(match format {
        Format::OpenMetrics => page,
        Format::Text => text::from_openmetrics(&page),
    })
}

#[cfg(test)]
mod tests;
