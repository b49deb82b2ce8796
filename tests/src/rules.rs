//! Faults: small rules on top of kube-proxy's, whatever its mode. Each is an
//! nftables table of its own, for IPv4 and IPv6.

use anyhow::{Context as _, Result};

use crate::{cleanup::unique, netns::Netns};

const SYN: &str = "tcp flags & (syn | ack) == syn";
const SYN_ACK: &str = "tcp flags & (syn | ack) == syn | ack";

/// A rule in force. It goes with its namespace, or earlier by
/// [`Rule::remove`].
#[derive(Debug)]
pub struct Rule {
    table: String,
}

impl Rule {
    /// Takes the rule away again.
    pub fn remove(self, ns: &Netns) -> Result<()> {
        ns.run(&["nft", "delete", "table", "inet", &self.table])
            .map(drop)
    }
}

/// Adds `rule`, in nftables' words, at each of `hooks` (`("prerouting",
/// "raw")`: hook and priority).
pub fn add(ns: &Netns, hooks: &[(&str, &str)], rule: &str) -> Result<Rule> {
    let table = format!("bed-{}", unique());
    let chains: String = hooks
        .iter()
        .enumerate()
        .map(|(i, (hook, priority))| {
            format!("chain c{i} {{ type filter hook {hook} priority {priority}; {rule}; }}\n")
        })
        .collect();
    let text = format!("table inet {table} {{\n{chains}}}\n");
    ns.run_with(&["nft", "-f", "-"], &text)
        .with_context(|| format!("add the rule {rule}"))?;
    Ok(Rule { table })
}

/// Drops SYNs to `port` before DNAT, without an answer: to the client the port
/// is silent, as behind a packet filter or externalTrafficPolicy Local.
pub fn drop_syns(node: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("tcp dport {port} {SYN} drop");
    add(node, &[("prerouting", "raw")], &rule)
}

/// Drops forwarded SYNs that came to node port `port`, after DNAT: a network
/// policy (D1).
pub fn drop_forwarded_syns(node: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("{SYN} ct original proto-dst {port} drop");
    add(node, &[("forward", "filter")], &rule)
}

/// Answers SYNs to `port` with a RST made by netfilter (A1r), DNAT or not.
pub fn reject_with_tcp_reset(node: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("{SYN} ct original proto-dst {port} reject with tcp reset");
    add(node, &[("input", "filter"), ("forward", "filter")], &rule)
}

/// Answers SYNs to `port` with an ICMP or ICMPv6 destination unreachable of
/// the nftables `code`, for example `admin-prohibited`.
pub fn reject_with_icmp(node: &Netns, port: u16, code: &str) -> Result<Rule> {
    let rule = format!("{SYN} ct original proto-dst {port} reject with icmpx type {code}");
    add(node, &[("input", "filter"), ("forward", "filter")], &rule)
}

/// Drops the SYN-ACKs that answer SYNs to node port `port` inside the node,
/// before its edge interface (D4): the client sees silence.
pub fn drop_syn_acks_in_node(node: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("{SYN_ACK} ct original proto-dst {port} drop");
    add(node, &[("forward", "filter"), ("output", "filter")], &rule)
}

/// Drops SYN-ACKs from `port` where they reach the client: the node has
/// answered, and nothing comes back (D4 beyond the node).
pub fn drop_syn_acks_at_client(client: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("tcp sport {port} {SYN_ACK} drop");
    add(client, &[("prerouting", "raw")], &rule)
}

/// Drops the client's bare ACKs to `port`: handshakes stay half-finished (B2).
pub fn hold_final_acks(client: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("tcp dport {port} tcp flags == ack drop");
    add(client, &[("output", "filter")], &rule)
}

/// Drops every packet to and from `port` in this namespace: a path that broke.
pub fn cut(ns: &Netns, port: u16) -> Result<Rule> {
    let rule = format!("tcp dport {port} drop; tcp sport {port} drop");
    add(ns, &[("prerouting", "raw"), ("output", "raw")], &rule)
}

/// Adds a rule of address translation at `hook`, before kube-proxy's: the first
/// rule that matches decides.
pub fn nat(ns: &Netns, hook: &str, rule: &str) -> Result<Rule> {
    let table = format!("bed-{}", unique());
    // Just before `dstnat` (prerouting) and `srcnat` (postrouting).
    let priority = if hook == "prerouting" { -110 } else { 90 };
    let text = format!(
        "table inet {table} {{\n\
         chain c {{ type nat hook {hook} priority {priority}; {rule}; }}\n}}\n"
    );
    ns.run_with(&["nft", "-f", "-"], &text)
        .with_context(|| format!("add the rule {rule}"))?;
    Ok(Rule { table })
}

/// Masquerades what goes to pods at `port` with the source ports `range` only
/// (`50000-50001`).
pub fn masquerade_from(node: &Netns, port: u16, range: &str) -> Result<Rule> {
    let rule = format!("tcp dport {port} masquerade to :{range}");
    nat(node, "postrouting", &rule)
}
