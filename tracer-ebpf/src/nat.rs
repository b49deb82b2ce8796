//! Where NAT sent an attempt: conntrack's entry of its SYN as the node sends it
//! on, after DNAT and SNAT. A backend in the node's own namespace (host network)
//! is not sent to: it shows when one of its segments is dropped or reset.

use aya_ebpf::{
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::LruHashMap,
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::flow::{FlowKey, Forwarded};

use crate::{
    backends::{self, Wanted},
    flows::{self, Entry},
    kernel::packet::{Conntrack, Info, SkBuff},
    maps,
};

/// The flow by its ends as the backend sees them: the client is who the
/// backend takes for it, the node is the backend itself. With the times of their
/// SYNs, these are the attempts whose clients the daemon can tell.
#[map]
static NAT: LruHashMap<FlowKey, Forwarded> = LruHashMap::with_max_entries(8192, 0);

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
    if let Some(join) = Join::of(entry) {
        join.learn();
        join.remember();
    }
}

/// A followed flow, and the answers that conntrack expects for it.
pub struct Join {
    /// The flow.
    pub flow: FlowKey,
    /// From the backend to whom it takes for the client.
    reply: FlowKey,
    /// Position of the port's counters.
    slot: u16,
    /// [`tracer_common::flow::Flow::syn_at`]
    syn_at: u64,
}

impl Join {
    /// `None` when the entry belongs to no followed flow.
    #[inline(always)]
    pub fn of(entry: Conntrack) -> Option<Self> {
        let flow = entry.original()?;
        let slot = maps::slot_of(flow.node_port)?;
        let syn_at = flows::peek(&flow)?.syn_at;
        let reply = entry.reply()?;
        Some(Self {
            flow,
            reply,
            slot,
            syn_at,
        })
    }

    /// The answer comes from elsewhere than where the SYN was sent to.
    #[inline(always)]
    fn is_dnat(&self) -> bool {
        self.reply.client != self.flow.node || self.reply.client_port != self.flow.node_port
    }

    /// Gives the flow its backend, once an attempt.
    #[inline(always)]
    pub fn learn(&self) {
        if !self.is_dnat() || flows::peek(&self.flow).is_none_or(|flow| flow.backend != 0) {
            return;
        }
        let wanted = Wanted {
            addr: self.reply.client,
            port: self.reply.client_port,
            slot: self.slot,
        };
        let place = wanted.place();
        if place == 0 {
            return;
        }
        let Some(entry) = Entry::lock(&self.flow) else {
            return;
        };
        if let Some(flow) = entry.flow()
            && flow.backend == 0
        {
            flow.backend = place;
            backends::count(place);
        }
    }

    /// Notes the ends that the backend sees. An entry that is there is left
    /// alone: looking it up has made it the youngest.
    #[inline(always)]
    fn remember(&self) {
        let ends = reversed(&self.reply);
        let same = |known: Forwarded| (known.flow, known.syn_at) == (self.flow, self.syn_at);
        if !self.is_dnat() || forwarded(&ends).is_some_and(same) {
            return;
        }
        let attempt = Forwarded {
            syn_at: self.syn_at,
            flow: self.flow,
            pad: [0; 4],
        };
        // Displaces the oldest when full; cannot fail otherwise.
        let _ = NAT.insert(ends, attempt, 0);
    }
}

/// The attempt of a segment to a backend, by the ends that the backend sees.
#[inline(always)]
fn forwarded(ends: &FlowKey) -> Option<Forwarded> {
    // SAFETY: a copy; should another flow take the element's place in the
    // meantime, its hooks find no attempt or note one drop too many.
    unsafe { NAT.get(ends) }.copied()
}

/// The flow of a segment to a watched port or to a backend, by its ends as they
/// stand.
#[inline(always)]
pub fn flow_at(ends: &FlowKey) -> Option<FlowKey> {
    if maps::slot_of(ends.node_port).is_some() && flows::peek(ends).is_some() {
        return Some(*ends);
    }
    forwarded(ends).map(|attempt| attempt.flow)
}

/// A backend's own socket has completed the handshake of these ends. Its flow
/// may be gone by now, so that its backend is looked for by the socket's end.
#[inline(always)]
pub fn opened(ends: &FlowKey) {
    let Some(attempt) = forwarded(ends) else {
        return;
    };
    let Some(slot) = maps::slot_of(attempt.flow.node_port) else {
        return;
    };
    let backend = Wanted {
        addr: ends.node,
        port: ends.node_port,
        slot,
    };
    if let Some(place) = backend.known() {
        backends::opened(place);
    }
}

/// The same segment's ends for who looks from the other side.
#[inline(always)]
pub fn reversed(ends: &FlowKey) -> FlowKey {
    FlowKey {
        client: ends.node,
        node: ends.client,
        client_port: ends.node_port,
        node_port: ends.client_port,
    }
}
