//! Decides what time alone decides. The daemon finds overdue flows and runs
//! this program on their keys (`BPF_PROG_TEST_RUN`), so that deciding happens
//! in the kernel, under the flow's lock, and never races a packet.

use aya_ebpf::{macros::classifier, programs::TcContext};
use tracer_common::{
    config::{SWEEP_CROWDED, SWEEP_KEYS},
    flow::FlowKey,
    machine::Fate,
};

use crate::{
    failures::{Effects, Scratch},
    flows::Entry,
    globals, maps,
    skb::Skb,
    tap,
};

/// The "packet" is an array of [`FlowKey`], its mark [`SWEEP_CROWDED`] where attempts
/// that are spent shall go too; returns the layout, cut off.
#[classifier]
pub fn sweep(ctx: TcContext) -> i32 {
    let skb = Skb::<true>::from(&ctx);
    let crowded = skb.mark() == SWEEP_CROWDED;
    for i in 0..SWEEP_KEYS {
        let offset = i * size_of::<FlowKey>() as u32;
        let Some(key) = skb.copy::<FlowKey>(offset) else {
            break;
        };
        tick(&key, crowded);
    }
    globals::layout() as i32
}

#[inline(always)]
fn tick(key: &FlowKey, crowded: bool) {
    let Some(slot) = maps::slot_of(key.node_port) else {
        return;
    };
    let Some(mut effects) = Effects::of(Scratch::Sweep) else {
        return;
    };
    tick_locked(key, crowded, &mut effects);
    effects.report(key, slot);
}

#[inline(always)]
fn tick_locked(key: &FlowKey, crowded: bool, effects: &mut Effects) {
    let Some(entry) = Entry::lock(key) else {
        return;
    };
    let Some(flow) = entry.flow() else { return };
    if effects.go_to(flow.row).is_none() {
        return;
    }
    let now = tap::now();
    let fate = flow.tick(now, &globals::limits(), effects);
    if fate == Fate::Remove || crowded && flow.is_spent(now) {
        entry.remove();
    }
}
