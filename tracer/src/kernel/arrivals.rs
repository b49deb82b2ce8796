//! Who came: the attempts that the kernel's tables still know by client.

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use tracer_common::flow::{Flow, FlowKey, Forwarded};

use super::{batch::Batch, flows::Flows, object};
use crate::snapshot::Arrival;

/// Elements read by one system call; the buffers live as long as a question.
const BATCH: usize = 1024;

/// The tables: attempts that are open or failed a moment ago, and the last ones
/// that NAT sent on.
pub struct Arrivals {
    flows: HashMap<MapData, FlowKey, Flow>,
    forwarded: HashMap<MapData, FlowKey, Forwarded>,
}

impl Arrivals {
    /// Takes the tables.
    pub fn new(ebpf: &mut Ebpf, flows: &Flows) -> anyhow::Result<Self> {
        Ok(Self {
            flows: flows.table()?,
            forwarded: object::take(ebpf, "NAT")?,
        })
    }

    /// Those at a port.
    pub fn at(&self, port: u16) -> anyhow::Result<Vec<Arrival>> {
        let mut found = Vec::new();
        let mut add = |flow: &FlowKey, syn_at| {
            if flow.node_port == port {
                found.push(Arrival {
                    client: flow.client,
                    client_port: flow.client_port,
                    syn_at,
                });
            }
        };
        let walked = Batch::new(BATCH).walk(&self.flows, |key, flow: &Flow| add(key, flow.syn_at));
        walked.context("read the flow table")?;
        let walked = Batch::new(BATCH).walk(&self.forwarded, |_, attempt: &Forwarded| {
            add(&attempt.flow, attempt.syn_at);
        });
        walked.context("read the attempts that NAT sent on")?;
        Ok(found)
    }
}
