//! The addresses of [`crate::topology`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The node's address at its edge interface `eth0`.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(10, 60, 0, 1);
/// The node's IPv6 address at its edge interface `eth0`.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x60, 0, 0, 0, 0, 0, 1);
/// The client's hardware address.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 60, 0, 10];
/// The hardware address of the node's `eth0`.
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 60, 0, 1];

/// Address number `i` of the client: 10.60.0.10, .11, …
#[must_use]
pub fn client_v4(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 60, 0, 10 + i)
}

/// Address number `i` of the client: fd00:60::10, fd00:60::11, …
#[must_use]
pub fn client_v6(i: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x60, 0, 0, 0, 0, 0, 0x10 + u16::from(i))
}

/// The address of pod `i` of the node: 10.244.0.2, .3, …
#[must_use]
pub fn pod_v4(i: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, low_byte(i + 2))
}

/// The address of pod `i` of the node: fd00:244::2, ::3, …
#[must_use]
pub fn pod_v6(i: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, u16::from(low_byte(i + 2)))
}

/// The address of the second node's pod.
pub const FAR_POD_V4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
/// The IPv6 address of the second node's pod.
pub const FAR_POD_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x244, 0, 1, 0, 0, 0, 2);

/// Source number `i` that no kernel owns: 172.16.0.0 + `i` (up to 2^20).
#[must_use]
pub fn phantom_v4(i: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xac10_0000 | (i & 0xf_ffff))
}

/// Source number `i` that no kernel owns, in fd00:60:1::/64.
#[must_use]
pub fn phantom_v6(i: u32) -> Ipv6Addr {
    Ipv6Addr::from((0xfd00_0060_0001_u128 << 80) | u128::from(i))
}

/// Whether `address` is a pod of the first node: a local endpoint.
#[must_use]
pub fn is_local_pod(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.octets()[..3] == [10, 244, 0],
        IpAddr::V6(a) => a.segments()[..4] == [0xfd00, 0x244, 0, 0],
    }
}

fn low_byte(i: usize) -> u8 {
    u8::try_from(i).unwrap_or(u8::MAX)
}
