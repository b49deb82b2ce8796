//! What is the node's own: its addresses, and the frames that its stack takes.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{HashMap, LpmTrie, lpm_trie},
};
use tracer_common::{
    config::{self, Mac, OWN_PREFIXES},
    flow::Addr,
    packet::{self, Link, Packet as _},
};

use crate::{
    kernel::Sock,
    skb::{Addressee, Skb},
};

/// The node's own addresses, each with its number ([`tracer_common::failure::FailureKey`]).
#[map]
static LOCAL: HashMap<Addr, u8> = HashMap::with_max_entries(1024, 0);
/// Prefixes that are the node's own by a route of type local alone (AnyIP).
#[map]
static LOCAL_PREFIXES: LpmTrie<Addr, u8> = LpmTrie::with_max_entries(OWN_PREFIXES, 0);
/// Addresses of Services, as far as the daemon knows any.
#[map]
static SERVICE_ADDRESSES: HashMap<Addr, u8> =
    HashMap::with_max_entries(config::SERVICE_ADDRESSES, BPF_F_NO_PREALLOC);
/// Hardware addresses of the bridges whose ports are tapped: what is sent to them is
/// another's to the port.
#[map]
static BRIDGES: HashMap<Mac, u8> = HashMap::with_max_entries(256, 0);

/// One of the node's own addresses.
#[inline(always)]
pub fn is_local(addr: &Addr) -> bool {
    LOCAL.get_ptr(addr).is_some() || LOCAL_PREFIXES.get(lpm_trie::Key::new(128, *addr)).is_some()
}

/// The number of an own address; 0: it has none.
#[inline(always)]
pub fn number_of(addr: &Addr) -> u8 {
    // SAFETY: the daemon alone writes it; a byte is read whole.
    LOCAL.get_ptr(addr).map_or(0, |number| unsafe { *number })
}

/// A dial of this socket to a watched port there is one to this node, or to a Service:
/// in another network namespace loopback is another host's.
#[inline(always)]
pub fn is_dialled(to: &Addr, sock: Sock) -> bool {
    if is_local(to) {
        return !to.is_loopback() || sock.foreign_netns() == 0;
    }
    SERVICE_ADDRESSES.get_ptr(to).is_some()
}

/// The packet belongs to a VLAN. Where the node has that VLAN, the packet comes by its
/// interface as well, without the tag; where not, the node throws it away. (VLAN 0 is
/// none: its tag tells a priority.)
#[inline(always)]
pub fn is_in_vlan<const DIRECT: bool>(skb: &Skb<DIRECT>, link: &Link) -> bool {
    skb.vlan() != 0 || packet::is_in_vlan(skb, link)
}

/// The node's stack takes the frame: it is sent to the interface, or to the bridge of
/// which that is a port. (TCP ignores what is sent to all or many: `tcp_v4_rcv`.)
#[inline(always)]
pub fn takes<const DIRECT: bool>(skb: &Skb<DIRECT>, has_link_header: bool) -> bool {
    match skb.addressee() {
        Addressee::Host => true,
        Addressee::OtherHost if has_link_header => {
            let (Some([first]), Some(last)) = (skb.words(0), skb.half(4)) else {
                return false;
            };
            BRIDGES.get_ptr(Mac::new(first, last)).is_some()
        }
        _ => false,
    }
}
