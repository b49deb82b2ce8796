//! What a rule is called, and how to look at it.

use std::fmt;

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `ip`
    Ipv4,
    /// `ip6`
    Ipv6,
    /// nftables' `inet`: both.
    Inet,
    /// nftables' `netdev`: what an interface receives, before anything else.
    Netdev,
}

/// The tool that shows a rule, and that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tool {
    /// iptables-legacy, ip6tables-legacy
    IptablesLegacy,
    /// iptables-nft, ip6tables-nft: nftables' kernel side, iptables' words.
    IptablesNft,
    /// nft
    Nftables,
}

/// Where in its chain a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Position {
    /// From 1 on, as `iptables -L --line-numbers` shows it.
    Number(u32),
    /// As `nft -a` shows it.
    Handle(u64),
    /// No rule: what the chain ends with.
    Policy,
}

/// Whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// kube-proxy's (or the kubelet's: chains named KUBE-…).
    KubeProxy,
    /// Anybody else's.
    Other,
}

/// A rule, or a chain's policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleName {
    /// Of its table.
    pub family: Family,
    /// The tool that shows it.
    pub tool: Tool,
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Where in the chain.
    pub position: Position,
    /// What its author says of it.
    pub comment: Option<String>,
    /// Its matches as far as they are read, in the words of its tool; `…` stands for
    /// what is not. Empty without any.
    pub text: String,
    /// Whose it is.
    pub owner: Owner,
}

impl Family {
    /// As nft names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
            Self::Inet => "inet",
            Self::Netdev => "netdev",
        }
    }

    /// As sentences name it; `None`: it says nothing of IPv4 or IPv6.
    const fn protocol(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            other => other.as_str(),
        }
    }
}

impl Tool {
    /// Its command for a family.
    const fn command(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::IptablesLegacy, Family::Ipv6) => "ip6tables-legacy",
            (Self::IptablesLegacy, _) => "iptables-legacy",
            (Self::IptablesNft, Family::Ipv6) => "ip6tables-nft",
            (Self::IptablesNft, _) => "iptables-nft",
            (Self::Nftables, _) => "nft",
        }
    }

    /// As sentences name it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::IptablesLegacy => "iptables-legacy",
            Self::IptablesNft => "iptables-nft",
            Self::Nftables => "nftables",
        }
    }
}

impl RuleName {
    /// Whether this is the same rule, or one that was put in its place and reads the same:
    /// others that come or go before it change its number, tools that write a chain
    /// anew its handle.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |name: &Self| (name.family, name.tool, name.position == Position::Policy);
        let same_chain = (&self.table, &self.chain) == (&other.table, &other.chain);
        let reads_so = (&self.text, &self.comment) == (&other.text, &other.comment);
        // What is not read may differ.
        let all_read = !self.text.contains('…');
        place(self) == place(other)
            && same_chain
            && reads_so
            && (all_read || self.position == other.position)
    }

    /// A command that shows it with its counter, in backticks.
    #[must_use]
    pub fn show(&self) -> String {
        let (family, table, chain) = (self.family, shell(&self.table), shell(&self.chain));
        let command = self.tool.command(family);
        match self.tool {
            Tool::Nftables => {
                let family = family.as_str();
                format!("`{command} -a list chain {family} {table} {chain}`")
            }
            _ => format!("`{command} -t {table} -L {chain} -n -v --line-numbers`"),
        }
    }
}

/// A name as a shell takes it.
fn shell(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tool, family) = (self.tool.as_str(), self.family.protocol());
        let (table, chain) = (&self.table, &self.chain);
        write!(f, "{tool}, {family}, table {table}, chain {chain}, ")?;
        match self.position {
            Position::Number(number) => write!(f, "rule {number}")?,
            Position::Handle(handle) => write!(f, "rule with handle {handle}")?,
            Position::Policy => return f.write_str("its policy"),
        }
        let comment = self.comment.as_ref().map(|c| format!("comment \"{c}\""));
        match (self.text.is_empty(), comment) {
            (true, None) => Ok(()),
            (false, None) => write!(f, " ({})", self.text),
            (true, Some(comment)) => write!(f, " ({comment})"),
            (false, Some(comment)) => write!(f, " ({}; {comment})", self.text),
        }
    }
}
