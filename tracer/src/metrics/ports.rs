//! The families that have a series per port.

use std::{borrow::Cow, fmt};

use prometheus_client::encoding::DescriptorEncoder;
use tracer_common::{
    counters::{Cell, LATENCY_BOUNDS_NS, LATENCY_BUCKETS},
    first_bytes::{MessageType, Protocol},
    words::{Answer, Close, LocalOutcome, Outcome, ResetOrigin, Retransmit, Traffic},
};

use super::family::{Bucket, counter, gauge, histogram};
use crate::{
    counted::Counted,
    recorder::{OTHER, Scrape},
};

pub(super) const NODE_PORT: &str = "node_port";
const TRAFFIC: &str = "traffic";

/// A port, or all others, with its label value, which is made once per scrape.
#[derive(Debug)]
pub(super) struct Port {
    label: Cow<'static, str>,
    counters: Counted,
}

/// The value of [`NODE_PORT`].
pub(super) fn label(port: Option<u16>) -> Cow<'static, str> {
    port.map_or(OTHER.into(), |port| port.to_string().into())
}

impl Port {
    pub(super) fn new((port, counters): (Option<u16>, Counted)) -> Self {
        Self {
            label: label(port),
            counters,
        }
    }

    /// Several ports together, whose series all exist from the start.
    fn is_other(&self) -> bool {
        self.label == OTHER
    }

    fn get(&self, cell: Cell) -> u64 {
        self.counters.get(cell)
    }

    /// A gauge's cell; it is kept modulo 2^64.
    fn level(&self, cell: Cell) -> i64 {
        self.get(cell).cast_signed()
    }

    fn node_port(&self) -> (&'static str, &str) {
        (NODE_PORT, &self.label)
    }
}

/// Writes all families of all ports.
pub(super) fn encode(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    handshakes(ports, to)?;
    answers(ports, to)?;
    connections(ports, to)?;
    closes(ports, to)?;
    segments(ports, to)?;
    local_connects(ports, to)?;
    messages(ports, to)
}

/// Whether an outcome can have a class, so that its series exists from the
/// port's first attempt on.
fn possible(outcome: Outcome, traffic: Traffic) -> bool {
    match outcome {
        Outcome::Established => true,
        Outcome::HalfOpen => traffic == Traffic::HealthCheck,
        _ => matches!(traffic, Traffic::HealthCheck | Traffic::Unknown),
    }
}

/// Writes how many ports have no series of their own.
pub(super) fn others(scrape: &Scrape, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(count) = scrape.listed.others else {
        return Ok(());
    };
    let help = "Ports that were tried and count together as node_port=\"other\": nobody is known to \
                be there, and nobody has come again and again";
    gauge(to, "tracer_other_ports", help)?.set_only(count as u64)
}

fn handshakes(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help =
        "Attempts (SYNs that were no retransmission): the sum of handshakes, pending and untracked";
    let mut family = counter(to, "tracer_attempts", help)?;
    for port in ports {
        family.count(&[port.node_port()], port.get(Cell::ATTEMPTS))?;
    }
    let help = "Attempts whose handshake ended, by how it ended and what it was for";
    let mut family = counter(to, "tracer_handshakes", help)?;
    for port in ports {
        for outcome in Outcome::ALL {
            for traffic in Traffic::ALL {
                let value = port.get(Cell::handshake(*outcome, *traffic));
                if value != 0 || possible(*outcome, *traffic) {
                    let outcome = ("outcome", outcome.as_str());
                    let labels = [port.node_port(), outcome, (TRAFFIC, traffic.as_str())];
                    family.count(&labels, value)?;
                }
            }
        }
    }
    let help = "Attempts without a counted outcome so far, among them established ones whose class is open";
    let mut family = gauge(to, "tracer_handshakes_pending", help)?;
    for port in ports {
        family.set(&[port.node_port()], port.level(Cell::PENDING))?;
    }
    let help = "Attempts that could not be followed because the flow table was full or busy";
    let mut family = counter(to, "tracer_untracked_syns", help)?;
    for port in ports {
        family.count(&[port.node_port()], port.get(Cell::UNTRACKED))?;
    }
    Ok(())
}

fn answers(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Time from the SYN to the first answer, for the answers seen so far";
    let mut family = histogram(to, "tracer_handshake_answer_seconds", help)?;
    for port in ports {
        for answer in Answer::ALL {
            let buckets = buckets(port, *answer);
            // Who has sent a SYN-ACK is no other port any more.
            let is_fixed = port.is_other() && *answer != Answer::SynAck;
            if is_fixed || buckets.iter().any(|bucket| bucket.1 != 0) {
                let sum = seconds(port.get(Cell::latency_sum(*answer)));
                let labels = [port.node_port(), ("answer", answer.as_str())];
                family.observe(&labels, sum, &buckets)?;
            }
        }
    }
    Ok(())
}

fn buckets(port: &Port, answer: Answer) -> [Bucket; LATENCY_BUCKETS] {
    std::array::from_fn(|i| {
        let bound = LATENCY_BOUNDS_NS
            .get(i)
            .map_or(f64::INFINITY, |ns| seconds(*ns));
        (bound, port.get(Cell::latency(answer, i)))
    })
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn connections(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Established connections, by their final class";
    let mut family = counter(to, "tracer_connections", help)?;
    for port in ports {
        for traffic in Traffic::ALL {
            let value = port.get(Cell::connection(*traffic));
            if value != 0 || *traffic != Traffic::Unknown {
                family.count(&[port.node_port(), (TRAFFIC, traffic.as_str())], value)?;
            }
        }
    }
    let help = "Connections open now, by their present class";
    let mut family = gauge(to, "tracer_connections_open", help)?;
    for port in ports {
        for traffic in Traffic::ALL {
            let level = port.level(Cell::open(*traffic));
            family.set(&[port.node_port(), (TRAFFIC, traffic.as_str())], level)?;
        }
    }
    Ok(())
}

fn closes(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Ended connections, by class, by who ended them and how";
    let mut family = counter(to, "tracer_connection_closes", help)?;
    for port in ports {
        let has_connections = has_connections(port);
        for traffic in Traffic::ALL {
            for close in Close::ALL {
                let value = port.get(Cell::close(*close, *traffic));
                if value != 0 || has_connections && *traffic != Traffic::Unknown {
                    let (by, how) = close.labels();
                    let traffic = (TRAFFIC, traffic.as_str());
                    family.count(
                        &[port.node_port(), traffic, ("by", by), ("how", how)],
                        value,
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// Whether there has ever been a connection: its closes have series from its
/// SYN-ACK on. Only cells that never fall are asked, or series would vanish.
fn has_connections(port: &Port) -> bool {
    let answered = (0..LATENCY_BUCKETS).map(|i| Cell::latency(Answer::SynAck, i));
    let counted = Traffic::ALL
        .iter()
        .map(|traffic| Cell::connection(*traffic));
    answered.chain(counted).any(|cell| port.get(cell) != 0)
}

fn segments(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Segments seen again, by what they carried";
    let mut family = counter(to, "tracer_retransmits", help)?;
    for port in ports {
        for kind in Retransmit::ALL {
            let value = port.get(Cell::retransmit(*kind));
            family.count(&[port.node_port(), ("kind", kind.as_str())], value)?;
        }
    }
    let help = "RST segments, by who made them";
    let mut family = counter(to, "tracer_resets", help)?;
    for port in ports {
        for origin in ResetOrigin::ALL {
            let value = port.get(Cell::reset(*origin));
            family.count(&[port.node_port(), ("origin", origin.as_str())], value)?;
        }
    }
    Ok(())
}

fn local_connects(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Dials made on this node to the port, by how they ended";
    let mut family = counter(to, "tracer_local_connects", help)?;
    for port in ports {
        let values = LocalOutcome::ALL
            .iter()
            .map(|o| (o, port.get(Cell::local_connect(*o))));
        if port.is_other() || values.clone().any(|(_, value)| value != 0) {
            for (outcome, value) in values {
                family.count(&[port.node_port(), ("outcome", outcome.as_str())], value)?;
            }
        }
    }
    Ok(())
}

fn messages(ports: &[Port], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "First Thrift message of the client and of the server on each connection, by type and protocol; later messages are not counted";
    let mut family = counter(to, "tracer_thrift_messages", help)?;
    for port in ports {
        for kind in MessageType::ALL {
            for protocol in Protocol::ALL {
                let value = port.get(Cell::message(*kind, *protocol));
                if value != 0 {
                    let protocol = ("protocol", protocol.as_str());
                    let labels = [port.node_port(), ("type", kind.as_str()), protocol];
                    family.count(&labels, value)?;
                }
            }
        }
    }
    Ok(())
}
