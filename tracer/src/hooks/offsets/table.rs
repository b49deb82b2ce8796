//! The members that the kernel programs read, and who reads them.

use crate::snapshot::SOCKET_STATE;

/// What a member has to be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// An integer of this many bytes.
    Int(u32),
    /// A struct of this many bytes.
    Struct(u32),
    /// A pointer.
    Pointer,
    /// An array of anything.
    Array,
    /// A struct of any size at the very beginning.
    Head,
    /// An integer of this many bytes at this offset in bytes.
    IntAt(u32, u32),
    /// The lowest bits of a byte.
    LowBits,
}

/// A member that hooks depend on.
pub struct Field {
    /// The program's global; none for a mere check.
    pub global: Option<&'static str>,
    pub name: &'static str,
    pub path: &'static str,
    pub shape: Shape,
    /// Who cannot do without.
    pub hooks: &'static [&'static str],
}

pub const STATE: &[&str] = &[SOCKET_STATE];
const RESETS: [&str; 2] = ["tcp_send_reset", "tcp_receive_reset"];
/// Hooks that look up the wire tap's flow.
const FLOWS: &[&str] = &[
    RESETS[0],
    RESETS[1],
    "tcp_retransmit_skb",
    "tcp_retransmit_synack",
];
const SYNACK: &[&str] = &["tcp_retransmit_synack"];
const DROPS: &[&str] = &["kfree_skb"];
/// Members whose readers do without: a kernel may have one namespace only.
const NOBODY: &[&str] = &[];

const fn field(
    global: &'static str,
    name: &'static str,
    path: &'static str,
    shape: Shape,
    hooks: &'static [&'static str],
) -> Field {
    Field {
        global: Some(global),
        ..check(name, path, shape, hooks)
    }
}

/// A member that no program is told of.
pub const fn check(
    name: &'static str,
    path: &'static str,
    shape: Shape,
    hooks: &'static [&'static str],
) -> Field {
    Field {
        global: None,
        name,
        path,
        shape,
        hooks,
    }
}

pub const FIELDS: &[Field] = &[
    check("sock", "__sk_common", Shape::Head, STATE),
    check("request_sock", "__req_common", Shape::Head, SYNACK),
    field(
        "SKC_DPORT",
        "sock_common",
        "skc_dport",
        Shape::Int(2),
        STATE,
    ),
    field(
        "SKC_FAMILY",
        "sock_common",
        "skc_family",
        Shape::Int(2),
        FLOWS,
    ),
    field(
        "SKC_STATE",
        "sock_common",
        "skc_state",
        Shape::Int(1),
        FLOWS,
    ),
    field("SKC_NUM", "sock_common", "skc_num", Shape::Int(2), SYNACK),
    field(
        "SKC_DADDR",
        "sock_common",
        "skc_daddr",
        Shape::Int(4),
        FLOWS,
    ),
    field(
        "SKC_RCV_SADDR",
        "sock_common",
        "skc_rcv_saddr",
        Shape::Int(4),
        FLOWS,
    ),
    // Absent from a kernel without IPv6, which has no such sockets either.
    field(
        "SKC_V6_DADDR",
        "sock_common",
        "skc_v6_daddr",
        Shape::Struct(16),
        &["tcp_v6_connect"],
    ),
    field(
        "SKC_V6_RCV_SADDR",
        "sock_common",
        "skc_v6_rcv_saddr",
        Shape::Struct(16),
        &["tcp_v6_connect"],
    ),
    field("SK_PROTOCOL", "sock", "sk_protocol", Shape::Int(2), STATE),
    field("SK_ERR", "sock", "sk_err", Shape::Int(4), STATE),
    field(
        "SK_ERRORS",
        "sock",
        "sk_error_queue.qlen",
        Shape::Int(4),
        STATE,
    ),
    field(
        "SK_LAST_ERROR",
        "sock",
        "sk_error_queue.prev",
        Shape::Pointer,
        STATE,
    ),
    field("SKB_CB", "sk_buff", "cb", Shape::Array, STATE),
    field(
        "EXTERR_ERRNO",
        "sock_exterr_skb",
        "ee.ee_errno",
        Shape::Int(4),
        STATE,
    ),
    field(
        "EXTERR_ORIGIN",
        "sock_exterr_skb",
        "ee.ee_origin",
        Shape::Int(1),
        STATE,
    ),
    field(
        "INET_SPORT",
        "inet_sock",
        "inet_sport",
        Shape::Int(2),
        FLOWS,
    ),
    field(
        "TCP_PACKETS_OUT",
        "tcp_sock",
        "packets_out",
        Shape::Int(4),
        STATE,
    ),
    field(
        "TCP_RCV_NXT",
        "tcp_sock",
        "rcv_nxt",
        Shape::Int(4),
        &[RESETS[0]],
    ),
    field(
        "REQUEST_ISN",
        "tcp_request_sock",
        "rcv_isn",
        Shape::Int(4),
        SYNACK,
    ),
    field(
        "SKB_LEN",
        "sk_buff",
        "len",
        Shape::Int(4),
        &["tcp_retransmit_skb"],
    ),
    // The others that read headers do without, too.
    field("SKB_HEAD", "sk_buff", "head", Shape::Pointer, DROPS),
    field(
        "SKB_NETWORK",
        "sk_buff",
        "network_header",
        Shape::Int(2),
        DROPS,
    ),
    field("SKB_PROTOCOL", "sk_buff", "protocol", Shape::Int(2), DROPS),
    field(
        "SKB_PKT_TYPE",
        "sk_buff",
        "pkt_type",
        Shape::LowBits,
        NOBODY,
    ),
    // In which namespace something is.
    field("NET_INUM", "net", "ns.inum", Shape::Int(4), NOBODY),
    field(
        "SKC_NET",
        "sock_common",
        "skc_net.net",
        Shape::Pointer,
        NOBODY,
    ),
    field("CT_NET", "nf_conn", "ct_net.net", Shape::Pointer, NOBODY),
    field(
        "DEV_NET",
        "net_device",
        "nd_net.net",
        Shape::Pointer,
        NOBODY,
    ),
    field("SKB_DEV", "sk_buff", "dev", Shape::Pointer, NOBODY),
    field("SKB_SK", "sk_buff", "sk", Shape::Pointer, NOBODY),
    field("SKB_DST", "sk_buff", "_skb_refdst", Shape::Int(8), NOBODY),
    field("DST_DEV", "dst_entry", "dev", Shape::Pointer, NOBODY),
];
