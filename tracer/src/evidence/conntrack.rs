//! conntrack of the node's namespace over ctnetlink: statistics, and single
//! entries. Read only.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Instant,
};

use nix::{errno::Errno, sys::socket::SockProtocol};
use tracer_common::flow::{Addr, FlowKey};

use super::{
    Conntrack, Entry,
    netlink::{Attributes, Failed, Request, Socket, address, attribute, family, nested, octets},
};

/// linux/netfilter/nfnetlink_conntrack.h
const CTNETLINK: u16 = 1 << 8;
const IPCTNL_MSG_CT_GET: u16 = CTNETLINK | 1;
const IPCTNL_MSG_CT_GET_STATS_CPU: u16 = CTNETLINK | 4;
const IPCTNL_MSG_CT_GET_STATS: u16 = CTNETLINK | 5;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_STATS_INVALID: u16 = 4;
const CTA_STATS_INSERT_FAILED: u16 = 9;
const CTA_STATS_DROP: u16 = 10;
const CTA_STATS_EARLY_DROP: u16 = 11;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;
/// Most places that one address is translated to which are told apart.
const TRANSLATIONS: usize = 64;
/// Bytes of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// net/netfilter/nf_conntrack_proto_tcp.c: `tcp_conntrack_names`.
const STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];

/// Said when [`used`] is false.
pub const UNUSED: &str = "conntrack is not in use in this namespace: \
                          it has no entry and has counted nothing";

/// Whether connections are tracked at all.
pub fn used(totals: &Conntrack) -> bool {
    let nothing = Conntrack {
        max: totals.max,
        ..Conntrack::default()
    };
    *totals != nothing
}

/// Asks the conntrack of one namespace.
pub struct Table(Socket);

impl Table {
    /// Opens it in the calling thread's network namespace.
    pub fn open() -> Result<Self, String> {
        // A question would make the kernel load the module.
        if !Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists() {
            return Err("conntrack is not in use in this namespace: \
                        nf_conntrack is not loaded (Cilium's replacement of kube-proxy does without)"
                .into());
        }
        Socket::open(SockProtocol::NetlinkNetFilter)
            .map(Self)
            .map_err(|failed| format!("open a netfilter netlink socket: {failed}"))
    }

    /// The statistics since the namespace was made, and its entries now.
    pub fn totals(&mut self, deadline: Instant) -> Result<Conntrack, Failed> {
        let mut totals = Conntrack::default();
        let request = Request::dump(IPCTNL_MSG_CT_GET_STATS_CPU, &[0; NFGENMSG]);
        self.0.ask(&request, deadline, |_, payload| {
            add_cpu(&mut totals, payload);
        })?;
        let request = Request::get(IPCTNL_MSG_CT_GET_STATS, &[0; NFGENMSG]);
        self.0.ask(&request, deadline, |_, payload| {
            take_sizes(&mut totals, payload);
        })?;
        if totals.max == 0 {
            // Kernels before 4.18 do not tell it over netlink.
            totals.max = sysctl("nf_conntrack_max").unwrap_or_default();
        }
        Ok(totals)
    }

    /// The entry that a flow's packets belong to, if there is one.
    pub fn entry(&mut self, flow: &FlowKey, deadline: Instant) -> Result<Option<Entry>, Failed> {
        let (client, node) = (ip(flow.client), ip(flow.node));
        let tuple = nested(
            CTA_TUPLE_ORIG,
            &[
                nested(CTA_TUPLE_IP, &addresses(client, node)),
                nested(
                    CTA_TUPLE_PROTO,
                    &[
                        attribute(CTA_PROTO_NUM, &[libc::IPPROTO_TCP as u8]),
                        attribute(CTA_PROTO_SRC_PORT, &flow.client_port.to_be_bytes()),
                        attribute(CTA_PROTO_DST_PORT, &flow.node_port.to_be_bytes()),
                    ],
                ),
            ],
        );
        let mut head = vec![family(node), 0, 0, 0];
        head.extend(tuple);
        let mut entry = None;
        let answer = self
            .0
            .ask(&Request::get(IPCTNL_MSG_CT_GET, &head), deadline, |_, p| {
                entry = parse_entry(p, flow.node_port);
            });
        match answer {
            Ok(()) => Ok(entry),
            Err(Failed::Kernel(Errno::ENOENT)) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Where NAT of this namespace sends most of what is for `dialled`, if elsewhere: a
    /// sidecar's REDIRECT, or the DNAT of a load balancer's pod.
    pub fn translation(
        &mut self,
        dialled: SocketAddr,
        deadline: Instant,
    ) -> Result<Option<SocketAddr>, Failed> {
        let mut found: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        let head = [family(dialled.ip()), 0, 0, 0];
        let request = Request::dump(IPCTNL_MSG_CT_GET, &head);
        self.0.ask(&request, deadline, |_, payload| {
            if let Some((to, answers)) = parse_translation(payload)
                && to == dialled
                && (found.len() < TRANSLATIONS || found.contains_key(&answers))
            {
                *found.entry(answers).or_default() += 1;
            }
        })?;
        let most = found.into_iter().max_by_key(|(_, count)| *count);
        Ok(most.map(|(to, _)| to).filter(|to| *to != dialled))
    }
}

fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc/sys/net/netfilter").join(name)).ok()?;
    text.trim().parse().ok()
}

/// An address of a flow; IPv4 stands mapped there.
pub fn ip(addr: Addr) -> IpAddr {
    let [a, b, c, d] = addr.0.map(u32::from_be);
    let bits = u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d);
    Ipv6Addr::from_bits(bits).to_canonical()
}

/// CTA_IP_V4_SRC, _DST or CTA_IP_V6_SRC, _DST.
fn addresses(source: IpAddr, destination: IpAddr) -> [Vec<u8>; 2] {
    let first = if source.is_ipv4() { 1 } else { 3 };
    [
        attribute(first, &octets(source)),
        attribute(first + 1, &octets(destination)),
    ]
}

fn be32(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|b| u32::from_be_bytes(*b).into())
}

/// One CPU's statistics.
fn add_cpu(totals: &mut Conntrack, payload: &[u8]) {
    for (kind, value) in Attributes::after(payload, NFGENMSG) {
        let cell = match kind {
            CTA_STATS_INVALID => &mut totals.invalid,
            CTA_STATS_INSERT_FAILED => &mut totals.insert_failed,
            CTA_STATS_DROP => &mut totals.drop,
            CTA_STATS_EARLY_DROP => &mut totals.early_drop,
            _ => continue,
        };
        *cell = cell.saturating_add(be32(value).unwrap_or_default());
    }
}

fn take_sizes(totals: &mut Conntrack, payload: &[u8]) {
    let attributes = Attributes::after(payload, NFGENMSG);
    let size = |kind| attributes.find(kind).and_then(be32).unwrap_or_default();
    totals.count = size(CTA_STATS_GLOBAL_ENTRIES);
    totals.max = size(CTA_STATS_GLOBAL_MAX_ENTRIES);
}

fn parse_entry(payload: &[u8], node_port: u16) -> Option<Entry> {
    let attributes = Attributes::after(payload, NFGENMSG);
    let state = attributes
        .find(CTA_PROTOINFO)
        .and_then(|info| Attributes(info).find(CTA_PROTOINFO_TCP))
        .and_then(|tcp| Attributes(tcp).find(CTA_PROTOINFO_TCP_STATE))
        .and_then(|state| STATES.get(usize::from(*state.first()?)));
    Some(Entry {
        node_port,
        backend: end(attributes.find(CTA_TUPLE_REPLY)?, End::Source)?,
        state: (*state.unwrap_or(&"UNKNOWN")).to_owned(),
    })
}

/// Where an entry's packets are for, and where NAT sends them.
fn parse_translation(payload: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let attributes = Attributes::after(payload, NFGENMSG);
    let dialled = end(attributes.find(CTA_TUPLE_ORIG)?, End::Destination)?;
    let answers = end(attributes.find(CTA_TUPLE_REPLY)?, End::Source)?;
    Some((dialled, answers))
}

/// One end of a tuple: CTA_IP_V4_SRC or CTA_IP_V6_SRC, or what follows them.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn end(tuple: &[u8], end: End) -> Option<SocketAddr> {
    let (v4, v6, port) = match end {
        End::Source => (1, 3, CTA_PROTO_SRC_PORT),
        End::Destination => (2, 4, CTA_PROTO_DST_PORT),
    };
    let tuple = Attributes(tuple);
    let ip = Attributes(tuple.find(CTA_TUPLE_IP)?);
    let ip = address(ip.find(v4).or_else(|| ip.find(v6))?)?;
    let proto = Attributes(tuple.find(CTA_TUPLE_PROTO)?);
    let tcp = proto.find(CTA_PROTO_NUM)?.first() == Some(&(libc::IPPROTO_TCP as u8));
    let port = u16::from_be_bytes(*proto.find(port)?.first_chunk()?);
    tcp.then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests;
