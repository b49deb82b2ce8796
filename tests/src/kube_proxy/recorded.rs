//! Rule sets as real kube-proxies wrote them, recorded with `iptables-save` and `nft list` on a
//! node with the addresses of [`crate::topology`] (`tests/fixtures/kube-proxy`). All have these
//! Services:
//!
//! | node port | endpoints |
//! |---|---|
//! | 30080 | pods 0 and 1, port 9090 |
//! | 30081 | none |
//! | 30082 | one on another node, externalTrafficPolicy Local |
//! | 30083 | pod 0 and one on another node, port 9090, externalTrafficPolicy Local |
//! | 30084 | pod 0, port 9099 |

use anyhow::{Context as _, Result};

use super::{Family, Mode, restore};
use crate::netns::Netns;

/// A recorded rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// kube-proxy 1.20.2, iptables mode. Where a Service has no local endpoint it jumps to
    /// KUBE-MARK-DROP, whose rules the kubelet writes: see [`Recorded::apply_kubelet`].
    Iptables1_20,
    /// kube-proxy 1.36.2, iptables mode.
    Iptables1_36,
    /// kube-proxy 1.36.2, nftables mode.
    Nftables1_36,
}

/// What the kubelet of that time adds, by which KUBE-MARK-DROP drops.
const KUBELET: &str = "\
*filter
:KUBE-FIREWALL - [0:0]
-A KUBE-FIREWALL -m comment --comment \"kubernetes firewall for dropping marked packets\" -m mark --mark 0x8000/0x8000 -j DROP
-I INPUT -j KUBE-FIREWALL
-I OUTPUT -j KUBE-FIREWALL
COMMIT
*nat
:KUBE-MARK-DROP - [0:0]
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
";

impl Recorded {
    /// Replaces the node's rules of the same kind.
    pub fn apply(self, node: &Netns) -> Result<()> {
        let (argv, text) = match self {
            Self::Nftables1_36 => {
                let text = include_str!("../../fixtures/kube-proxy/nftables-kube-proxy-1.36.2.txt");
                let fresh = "add table ip kube-proxy\ndelete table ip kube-proxy\n";
                (vec!["nft", "-f", "-"], format!("{fresh}{text}"))
            }
            Self::Iptables1_20 => {
                let text = include_str!("../../fixtures/kube-proxy/iptables-kube-proxy-1.20.2.txt");
                (restore(Mode::IptablesNft, Family::V4), text.to_owned())
            }
            Self::Iptables1_36 => {
                let text = include_str!("../../fixtures/kube-proxy/iptables-kube-proxy-1.36.2.txt");
                (restore(Mode::IptablesNft, Family::V4), without_nfacct(text))
            }
        };
        let applied = node.run_with(&argv, &text);
        applied.map(drop).with_context(|| format!("{self:?}"))
    }

    /// Adds the kubelet's rules to those of [`Recorded::Iptables1_20`].
    pub fn apply_kubelet(node: &Netns) -> Result<()> {
        let mut argv = restore(Mode::IptablesNft, Family::V4);
        argv.push("--noflush");
        let applied = node.run_with(&argv, KUBELET);
        applied.map(drop).context("the kubelet's rules")
    }
}

/// The rules without their packet accounting, for which not every kernel has the module.
fn without_nfacct(rules: &str) -> String {
    let mut words = rules.split_inclusive(' ').peekable();
    let mut text = String::new();
    while let Some(word) = words.next() {
        if word == "-m " && words.next_if_eq(&"nfacct ").is_some() {
            // `--nfacct-name`, an empty word (two spaces), the name.
            words.nth(2);
        } else {
            text.push_str(word);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounting_is_left_out() {
        let rule = "-A X -m conntrack --ctstate INVALID -m nfacct --nfacct-name  some_pkts -j DROP";
        let plain = "-A X -m conntrack --ctstate INVALID -j DROP";
        assert_eq!(without_nfacct(rule), plain);
        assert_eq!(without_nfacct(plain), plain);
    }
}
