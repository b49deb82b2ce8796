//! The families about failures: why, and where NAT had sent them.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use tracer_common::failure::Failure;

use super::{
    family::counter,
    ports::{NODE_PORT, label},
};
use crate::{recorder::Scrape, verdict::Verdict};

/// Writes the failures of all ports.
pub(super) fn encode(scrape: &Scrape, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help =
        "Failed attempts, by why they failed; refusals follow their outcome by about a second";
    let mut family = counter(to, "tracer_handshake_failures", help)?;
    for (port, counts) in &scrape.listed.verdicts {
        let port = label(*port);
        for (verdict, count) in Verdict::ALL.iter().zip(counts) {
            let verdict = ("verdict", verdict.as_str());
            family.count(&[(NODE_PORT, &port), verdict], *count)?;
        }
    }
    let Some(backends) = &scrape.backends else {
        return Ok(());
    };
    let help =
        "Failed attempts, and connections that came late or to nothing, by where NAT sent them";
    let mut family = counter(to, "tracer_backend_failures", help)?;
    for (port, backend, counts) in backends {
        let port = port.to_string();
        let backend = backend.map_or_else(|| "other".to_owned(), |b| b.to_string());
        for (failure, count) in Failure::ALL.iter().zip(counts) {
            if *count != 0 || failure.is_attempt() {
                let outcome = ("outcome", failure.as_str());
                let labels = [(NODE_PORT, &*port), ("backend", &*backend), outcome];
                family.count(&labels, *count)?;
            }
        }
    }
    Ok(())
}
