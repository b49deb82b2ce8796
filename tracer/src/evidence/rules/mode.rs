//! How kube-proxy writes its rules on this node.

use super::{
    RuleSets, Tool,
    table::{self, Op, Tables, Verdict},
};

/// How kube-proxy's rules are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyMode {
    /// iptables, by iptables-legacy.
    IptablesLegacy,
    /// iptables, by iptables-nft.
    IptablesNft,
    /// nftables
    Nftables,
}

impl RuleSets {
    /// What kube-proxy's rules look like; `None`: there are none, or nothing was read.
    #[must_use]
    pub fn mode(&self) -> Option<ProxyMode> {
        let Tables { tables, chains, .. } = &self.read.tables;
        let named = |index: &u32, name: &str| {
            chains
                .get(*index as usize)
                .is_some_and(|chain| &*chain.name == name)
        };
        // IPVS mode has such a chain as well, which leads elsewhere.
        let leads_to_node_ports = |rule: &table::Rule| {
            let mut ops = rule.ops.iter();
            ops.any(
                |op| matches!(op, Op::Verdict(Verdict::Jump(to)) if named(to, "KUBE-NODEPORTS")),
            )
        };
        let of = |chain: &table::Chain| {
            let table = tables.get(chain.table as usize)?;
            let services = &*table.name == "nat" && &*chain.name == "KUBE-SERVICES";
            let serves = || services && chain.rules.iter().any(leads_to_node_ports);
            match table.tool {
                Tool::Nftables => (&*table.name == "kube-proxy" && !chain.rules.is_empty())
                    .then_some(ProxyMode::Nftables),
                Tool::IptablesLegacy => serves().then_some(ProxyMode::IptablesLegacy),
                Tool::IptablesNft => serves().then_some(ProxyMode::IptablesNft),
            }
        };
        chains.iter().find_map(of)
    }
}
