//! Which network namespace sockets, packets and conntrack's entries are in, by
//! its inode number (`struct net`), and whether that is the node's own. Kernels
//! without CONFIG_NET_NS have no such members, and one namespace.

use aya_ebpf::Global;

use super::{
    ABSENT, Sock,
    packet::{Conntrack, SkBuff},
    read,
};

/// Inode of the node's own namespace, by the loader; 0: not known.
#[unsafe(no_mangle)]
static NODE_NETNS: Global<u32> = Global::new(0);
/// `net.ns.inum`
#[unsafe(no_mangle)]
static NET_INUM: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKC_NET: Global<u16> = Global::new(ABSENT);
/// `nf_conn.ct_net.net`
#[unsafe(no_mangle)]
static CT_NET: Global<u16> = Global::new(ABSENT);
/// `net_device.nd_net.net`
#[unsafe(no_mangle)]
static DEV_NET: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKB_DEV: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static SKB_SK: Global<u16> = Global::new(ABSENT);
/// `sk_buff._skb_refdst`
#[unsafe(no_mangle)]
static SKB_DST: Global<u16> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static DST_DEV: Global<u16> = Global::new(ABSENT);

/// A pointer in the struct at `base`, unless it is NULL.
#[inline(always)]
fn follow(base: *const u8, offset: &Global<u16>) -> Option<*const u8> {
    let pointer: u64 = read(base, offset)?;
    (pointer != 0).then_some(pointer as *const u8)
}

/// Inode of the namespace that the member at `offset` points to.
#[inline(always)]
fn inode(base: *const u8, offset: &Global<u16>) -> Option<u32> {
    read(follow(base, offset)?, &NET_INUM)
}

/// 0 for the node's own namespace, and for what is not known.
#[inline(always)]
fn foreign(inode: Option<u32>) -> u32 {
    match inode {
        Some(inode) if inode != NODE_NETNS.load() && NODE_NETNS.load() != 0 => inode,
        _ => 0,
    }
}

impl Sock {
    /// Inode of its namespace, if that is not the node's own; else 0.
    #[inline(always)]
    pub fn foreign_netns(self) -> u32 {
        foreign(inode(self.0, &SKC_NET))
    }
}

impl Conntrack {
    /// In another namespace than the node's.
    #[inline(always)]
    pub fn is_foreign(self) -> bool {
        foreign(inode(self.0, &CT_NET)) != 0
    }
}

impl SkBuff {
    /// Inode of the namespace that handles it, if that is not the node's own; else
    /// 0. TCP takes the device off a segment that it hands to a socket
    /// (`tcp_v4_rcv`); what is sent has none yet, but a socket.
    #[inline(always)]
    pub fn foreign_netns(self) -> u32 {
        /// `SKB_DST_NOREF`
        const NO_REFERENCE: u64 = 1;
        if let Some(dev) = follow(self.0, &SKB_DEV) {
            return foreign(inode(dev, &DEV_NET));
        }
        if let Some(sk) = follow(self.0, &SKB_SK) {
            return Sock(sk).foreign_netns();
        }
        let dst = read(self.0, &SKB_DST).unwrap_or(0) & !NO_REFERENCE;
        match follow(dst as *const u8, &DST_DEV) {
            Some(dev) => foreign(inode(dev, &DEV_NET)),
            None => 0,
        }
    }
}
