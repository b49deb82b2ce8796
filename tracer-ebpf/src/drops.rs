//! Which segments of followed flows the kernel dropped, where and why.

use aya_ebpf::{
    Global,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::{
    failure::seen,
    flow::FlowKey,
    machine::{Header, tcp},
};

use crate::{
    flows,
    joins::Followed,
    kernel::packet::{Info, SkBuff},
    nat::{flow_at, reversed},
    notes::{Dropped, Subject},
};

/// 1 where `kfree_skb` has its third argument.
#[unsafe(no_mangle)]
static KFREE_HAS_REASON: Global<u8> = Global::new(0);
/// `SKB_DROP_REASON_OTHERHOST` by this kernel's numbers.
#[unsafe(no_mangle)]
static OTHERHOST: Global<u16> = Global::new(u16::MAX);

/// C: void kfree_skb(struct sk_buff *skb, void *location)
///
/// From 5.17 on a third argument, `enum skb_drop_reason reason`; from 6.12 on a
/// fourth, `struct sock *rx_sk`.
#[btf_tracepoint]
pub fn drop_skb(ctx: BtfTracePointContext) -> i32 {
    let reason = if KFREE_HAS_REASON.load() == 0 {
        0
    } else {
        ctx.arg::<u32>(2)
    };
    on_drop(SkBuff(ctx.arg(0)), ctx.arg(1), reason);
    0
}

/// [`drop_skb`] without BTF.
#[raw_tracepoint]
pub fn drop_skb_raw(ctx: RawTracePointContext) -> i32 {
    let reason = if KFREE_HAS_REASON.load() == 0 {
        0
    } else {
        ctx.arg::<u32>(2)
    };
    on_drop(SkBuff(ctx.arg(0)), ctx.arg(1), reason);
    0
}

#[inline(always)]
fn on_drop(skb: SkBuff, location: u64, reason: u32) {
    if reason == u32::from(OTHERHOST.load()) {
        return;
    }
    let Some(found) = Owner::of(skb) else { return };
    let drop = Dropped {
        seen: found.kind(),
        // Subsystems other than the core number theirs from 1 << 16 on.
        reason: reason.min(u32::from(u16::MAX)) as u16,
        location: location as u32,
    };
    drop.note(&found.subject);
}

/// Whose segment it is.
pub struct Owner {
    /// The followed flow.
    pub subject: Subject,
    /// The segment comes from the client; else from the server.
    pub from_client: bool,
    /// conntrack had an entry for it, not a new one.
    old_entry: bool,
    /// Byte 13 of the TCP header.
    flags: u8,
}

impl Owner {
    /// Finds the flow of a segment, on whatever side of NAT it is: by
    /// conntrack's entry, by its ends as they stand, by the backend's ends. Its
    /// numbers have to be the flow's: anybody can have its ends.
    #[inline(always)]
    pub fn of(skb: SkBuff) -> Option<Self> {
        let segment = skb.segment()?;
        if skb.is_for_other_host() {
            return None;
        }
        let (flow, from_client, old_entry) = match by_conntrack(skb) {
            Some((flow, info)) => (flow, !info.is_reply(), info != Info::NEW),
            None => {
                let (flow, from_client) = by_ends(&segment.ends)?;
                (flow, from_client, false)
            }
        };
        Self::by_numbers(&flow, from_client, &segment.header, skb).map(|subject| Self {
            subject,
            from_client,
            old_entry,
            flags: segment.header.flags,
        })
    }

    #[inline(always)]
    fn by_numbers(
        flow: &FlowKey,
        from_client: bool,
        header: &Header,
        skb: SkBuff,
    ) -> Option<Subject> {
        let known = flows::peek(flow)?;
        known.owns(from_client, header).then(|| Subject {
            flow: *flow,
            syn_at: known.syn_at,
            netns: skb.foreign_netns(),
        })
    }

    /// Bits of [`seen`].
    #[inline(always)]
    fn kind(&self) -> u16 {
        let opens = self.flags & tcp::SYN != 0;
        match (self.from_client, opens) {
            (true, true) if self.old_entry => seen::DROPPED_SYN | seen::OLD_ENTRY,
            (true, true) => seen::DROPPED_SYN,
            (true, false) => seen::DROPPED_CLIENT,
            (false, true) => seen::DROPPED_SYN_ACK,
            (false, false) => seen::DROPPED_SERVER,
        }
    }
}

#[inline(always)]
fn by_conntrack(skb: SkBuff) -> Option<(FlowKey, Info)> {
    let (entry, info) = skb.conntrack()?;
    let join = Followed::of(entry)?.join(entry)?;
    join.learn(0);
    Some((join.flow.key, info))
}

/// The flow, and whether the segment comes from its client.
#[inline(always)]
fn by_ends(ends: &FlowKey) -> Option<(FlowKey, bool)> {
    match flow_at(ends) {
        Some(flow) => Some((flow, true)),
        None => flow_at(&reversed(ends)).map(|flow| (flow, false)),
    }
}
