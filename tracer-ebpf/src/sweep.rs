//! Decides what time alone decides. The daemon finds overdue flows and runs
//! this program on their keys (`BPF_PROG_TEST_RUN`), so that deciding happens
//! in the kernel, under the flow's lock, and never races a packet.

use aya_ebpf::{macros::classifier, programs::TcContext};
use tracer_common::{config::SWEEP_KEYS, flow::FlowKey, machine::Fate};

use crate::{flows::Entry, globals, maps::Port, skb::Skb, tap};

/// The "packet" is an array of [`FlowKey`]; returns the layout version.
#[classifier]
pub fn sweep(ctx: TcContext) -> i32 {
    let skb = Skb::<true>::from(&ctx);
    for i in 0..SWEEP_KEYS {
        let offset = i * size_of::<FlowKey>() as u32;
        let Some(bytes) = skb.load_by_helper(offset) else {
            break;
        };
        // SAFETY: any 36 bytes are a valid key.
        let key = unsafe { core::mem::transmute::<[u8; size_of::<FlowKey>()], FlowKey>(bytes) };
        tick(&key);
    }
    globals::abi().cast_signed()
}

#[inline(always)]
fn tick(key: &FlowKey) {
    let Some(entry) = Entry::lock(key) else {
        return;
    };
    let Some(flow) = entry.flow() else { return };
    let Some(mut port) = Port::at(flow.slot) else {
        return;
    };
    if flow.tick(tap::now(), &globals::limits(), &mut port) == Fate::Remove {
        entry.remove();
    }
}
