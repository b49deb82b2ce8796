//! Where NAT sent an attempt: conntrack's entry of its SYN as the node sends it
//! on, after DNAT and SNAT. A backend in the node's own namespace (host network)
//! is not sent to: it shows when one of its segments is dropped or reset.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::flow::{FlowKey, Forwarded, mark};

use crate::{
    backends::{self, Wanted},
    flows::{self, Entry},
    kernel::packet::{Conntrack, Info, SkBuff},
    maps, nat,
};

/// C: void net_dev_queue(struct sk_buff *skb)
///
/// Every packet that any interface of any network namespace sends.
#[btf_tracepoint]
pub fn dev_queue_direct(ctx: BtfTracePointContext) -> i32 {
    let skb = SkBuff(ctx.arg(0));
    on_queue(skb.conntrack_by_load());
    0
}

/// [`dev_queue_direct`] for kernels whose verifier refuses its load.
#[btf_tracepoint]
pub fn dev_queue(ctx: BtfTracePointContext) -> i32 {
    on_queue(SkBuff(ctx.arg(0)).conntrack());
    0
}

/// [`dev_queue`] without BTF.
#[raw_tracepoint]
pub fn dev_queue_raw(ctx: RawTracePointContext) -> i32 {
    on_queue(SkBuff(ctx.arg(0)).conntrack());
    0
}

/// Almost every packet ends at its first line.
#[inline(always)]
fn on_queue(entry: Option<(Conntrack, Info)>) {
    let Some((entry, Info::NEW)) = entry else {
        return;
    };
    let Some(followed) = Followed::of(entry) else {
        return;
    };
    // A SYN is queued at each bridge and link on its way.
    if followed.marks & mark::SENT_ON != 0 {
        return;
    }
    if let Some(join) = followed.join(entry) {
        join.learn(mark::SENT_ON);
        join.remember();
    }
}

/// A flow that conntrack's entry is for, as it stood a moment ago.
pub struct Followed {
    /// Its key.
    pub key: FlowKey,
    /// Position of the port's counters.
    slot: u16,
    /// [`tracer_common::flow::Flow::syn_at`]
    syn_at: u64,
    /// [`tracer_common::flow::Flow::isn`]
    isn: u32,
    /// [`tracer_common::flow::Flow::backend`]
    backend: u16,
    /// [`tracer_common::flow::Flow::marks`]
    marks: u8,
}

impl Followed {
    /// `None` when the entry belongs to no followed flow. Whoever has a namespace
    /// of its own can have any entry in there: only the node's own tell where NAT
    /// sends to.
    #[inline(always)]
    pub fn of(entry: Conntrack) -> Option<Self> {
        let key = entry.original()?;
        let slot = maps::slot_of(key.node_port)?;
        let flow = flows::peek(&key)?;
        if entry.is_foreign() {
            return None;
        }
        Some(Self {
            key,
            slot,
            syn_at: flow.syn_at,
            isn: flow.isn,
            backend: flow.backend,
            marks: flow.marks,
        })
    }

    /// The same with the answers that conntrack expects.
    #[inline(always)]
    pub fn join(self, entry: Conntrack) -> Option<Join> {
        let reply = entry.reply()?;
        Some(Join { flow: self, reply })
    }
}

/// A followed flow, and the answers that conntrack expects for it.
pub struct Join {
    /// The flow.
    pub flow: Followed,
    /// From the backend to whom it takes for the client.
    reply: FlowKey,
}

impl Join {
    /// The answer comes from elsewhere than where the SYN was sent to.
    #[inline(always)]
    fn is_dnat(&self) -> bool {
        let to = &self.flow.key;
        self.reply.client != to.node || self.reply.client_port != to.node_port
    }

    /// Gives the flow its backend, once an attempt, and `marks` with it.
    #[inline(always)]
    pub fn learn(&self, marks: u8) {
        if !self.is_dnat() || self.flow.backend != 0 {
            return;
        }
        let wanted = Wanted {
            addr: self.reply.client,
            port: self.reply.client_port,
            slot: self.flow.slot,
        };
        let place = wanted.place();
        if place == 0 {
            return;
        }
        let Some(entry) = Entry::lock(&self.flow.key) else {
            return;
        };
        if let Some(flow) = entry.flow()
            && flow.backend == 0
        {
            flow.backend = place;
            flow.marks |= marks;
            backends::count(place);
        }
    }

    #[inline(always)]
    fn remember(&self) {
        if self.is_dnat() {
            let ends = nat::reversed(&self.reply);
            nat::remember(
                &ends,
                &Forwarded {
                    syn_at: self.flow.syn_at,
                    flow: self.flow.key,
                    isn: self.flow.isn,
                },
            );
        }
    }
}
