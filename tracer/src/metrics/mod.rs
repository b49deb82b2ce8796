//! The metrics page, made from one scrape of the recorder.

mod daemon;
mod failures;
mod family;
mod ports;
mod process;
mod services;
mod text;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text::encode},
    registry::Registry,
};

use crate::recorder;

use ports::Port;
pub use process::Process;
use text::ToText;

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

/// Everything on a page comes from the same scrape.
#[derive(Debug)]
struct Page {
    ports: Vec<Port>,
    scrape: recorder::Scrape,
    process: Process,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        ports::encode(&self.ports, &mut encoder)?;
        ports::others(&self.scrape, &mut encoder)?;
        failures::encode(&self.scrape, &mut encoder)?;
        services::encode(&self.scrape, &mut encoder)?;
        daemon::encode(&self.scrape, &mut encoder)?;
        daemon::build(&mut encoder)?;
        daemon::process(&self.process, &mut encoder)
    }
}

/// Writes the page.
///
/// # Errors
/// When the encoder or `out` refuses a value.
pub fn write(
    mut scrape: recorder::Scrape,
    process: Process,
    format: Format,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let ports = std::mem::take(&mut scrape.listed.ports);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page {
        ports: ports.into_iter().map(Port::new).collect(),
        scrape,
        process,
    }));
    match format {
        Format::OpenMetrics => encode(out, &registry),
        Format::Text => encode(&mut ToText::to(out), &registry),
    }
}

/// The page as a whole.
///
/// # Errors
/// When the encoder refuses a value; there is no half page.
pub fn render(
    scrape: recorder::Scrape,
    process: Process,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut page = String::new();
    write(scrape, process, format, &mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests;
