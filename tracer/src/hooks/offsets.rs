//! Where the kernel programs find the struct members they read.

use anyhow::{Context as _, Result, bail};

use super::btf::{Btf, Member, kind};
use crate::snapshot::SOCKET_STATE;

/// What a program takes an absent member's offset for; also its initial value.
const ABSENT: u16 = 0xffff;

/// What a member has to be.
#[derive(Clone, Copy, Debug)]
enum Shape {
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
}

/// A member that hooks depend on.
struct Field {
    /// The program's global; none for a mere check.
    global: Option<&'static str>,
    name: &'static str,
    path: &'static str,
    shape: Shape,
    /// Who cannot do without.
    hooks: &'static [&'static str],
}

const STATE: &[&str] = &[SOCKET_STATE];
const RESETS: [&str; 2] = ["tcp_send_reset", "tcp_receive_reset"];
/// Hooks that look up the wire tap's flow.
const FLOWS: &[&str] = &[
    RESETS[0],
    RESETS[1],
    "tcp_retransmit_skb",
    "tcp_retransmit_synack",
];
const SYNACK: &[&str] = &["tcp_retransmit_synack"];

const fn field(
    global: &'static str,
    name: &'static str,
    path: &'static str,
    shape: Shape,
    hooks: &'static [&'static str],
) -> Field {
    Field {
        global: Some(global),
        name,
        path,
        shape,
        hooks,
    }
}

const FIELDS: &[Field] = &[
    Field {
        global: None,
        name: "sock",
        path: "__sk_common",
        shape: Shape::Head,
        hooks: STATE,
    },
    Field {
        global: None,
        name: "request_sock",
        path: "__req_common",
        shape: Shape::Head,
        hooks: SYNACK,
    },
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
        "SKB_LEN",
        "sk_buff",
        "len",
        Shape::Int(4),
        &["tcp_retransmit_skb"],
    ),
];

/// The programs' globals, and which hooks this kernel cannot have.
#[derive(Debug)]
pub struct Offsets {
    /// Global and offset in bytes.
    pub values: Vec<(&'static str, u16)>,
    /// 1 when `tcp_retransmit_skb` has its argument `err` (6.18).
    pub retransmit_has_err: u8,
    /// Hook and the reason why it is disabled.
    disabled: Vec<(&'static str, String)>,
}

impl Offsets {
    /// Resolves all members.
    ///
    /// # Errors
    /// Names the `struct.member` that a required hook misses.
    pub fn resolve(btf: &Btf) -> Result<Self> {
        let mut found = Self {
            values: Vec::new(),
            retransmit_has_err: 0,
            disabled: Vec::new(),
        };
        for field in FIELDS {
            let offset = match field.resolve(btf) {
                Ok(offset) => offset,
                Err(error) if field.hooks == STATE => return Err(error),
                Err(error) => {
                    let why = format!("{error:#}");
                    found
                        .disabled
                        .extend(field.hooks.iter().map(|hook| (*hook, why.clone())));
                    ABSENT
                }
            };
            found
                .values
                .extend(field.global.map(|global| (global, offset)));
        }
        found.arguments(btf)?;
        Ok(found)
    }

    /// Why a hook is disabled, if it is.
    pub fn disabled(&self, hook: &str) -> Option<&str> {
        self.disabled
            .iter()
            .find(|(name, _)| *name == hook)
            .map(|(_, why)| why.as_str())
    }

    /// The one tracepoint whose arguments matter and have changed.
    fn arguments(&mut self, btf: &Btf) -> Result<()> {
        const HOOK: &str = "tcp_retransmit_skb";
        match btf.tracepoint_args(HOOK)? {
            Some(2) => {}
            Some(3) => self.retransmit_has_err = 1,
            Some(other) => self
                .disabled
                .push((HOOK, format!("has {other} arguments, not 2 or 3"))),
            None => self
                .disabled
                .push((HOOK, "this kernel has no such tracepoint".into())),
        }
        Ok(())
    }
}

impl Field {
    /// The offset in bytes.
    fn resolve(&self, btf: &Btf) -> Result<u16> {
        let Self {
            name, path, shape, ..
        } = self;
        let path = format!("{name}.{path}");
        let member = btf.member(name, self.path).with_context(|| path.clone())?;
        let Some(member) = member else {
            bail!("{path}: this kernel has no such member")
        };
        if !shape.fits(member) {
            bail!(
                "{path}: expected {shape}, found kind {} of {} bytes at bit {}",
                member.kind,
                member.size,
                member.bit_offset
            );
        }
        u16::try_from(member.bit_offset / 8)
            .ok()
            .filter(|offset| *offset < ABSENT)
            .with_context(|| format!("{path}: stands too far back"))
    }
}

impl Shape {
    fn fits(self, member: Member) -> bool {
        let shape = match self {
            Self::Int(size) => member.kind == kind::INT && member.size == size,
            Self::Struct(size) => member.kind == kind::STRUCT && member.size == size,
            Self::Pointer => member.kind == kind::PTR,
            Self::Array => member.kind == kind::ARRAY,
            Self::Head => member.kind == kind::STRUCT && member.bit_offset == 0,
        };
        shape && !member.bitfield
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(size) => write!(f, "an integer of {size} bytes"),
            Self::Struct(size) => write!(f, "a struct of {size} bytes"),
            Self::Pointer => write!(f, "a pointer"),
            Self::Array => write!(f, "an array"),
            Self::Head => write!(f, "a struct at the beginning"),
        }
    }
}

#[cfg(test)]
mod tests;
