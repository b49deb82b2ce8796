//! A rule that took SYNs, in words.

use std::net::IpAddr;

use super::times::seconds;
use crate::evidence::rules::{Owner, RuleName, Stop};

/// A rule that took SYNs.
#[derive(Debug)]
pub(super) struct Culprit {
    /// The rule.
    pub stop: Stop,
    /// It fits every SYN that was traced, or it is the only one that may have, and its
    /// counter rose by as many. Otherwise others may have taken them.
    pub sure: bool,
    /// It was found when the failures were judged, and is not what takes such SYNs now.
    pub past: Option<Past>,
    /// Other clients of the row, and the rules that surely took theirs.
    pub also: Vec<(IpAddr, RuleName)>,
}

/// A rule that took SYNs in the past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    /// When it was read last, nanoseconds before the end of the window.
    pub age: u64,
    /// Whether it still stands; `None`: not known.
    pub stands: Option<bool>,
}

impl Culprit {
    /// kube-proxy's rule that drops whatever other rules of its have marked.
    pub(super) fn is_of_marked(&self) -> bool {
        self.stop.rule.chain == "KUBE-FIREWALL"
    }

    /// What kube-proxy makes such a rule for, a sentence.
    pub(super) fn of_source_ranges(&self) -> &'static str {
        const CHAINS: [&str; 4] = ["KUBE-PROXY-FIREWALL", "KUBE-FW-", "fw-", "firewall-check"];
        let chain = &self.stop.rule.chain;
        if CHAINS.iter().any(|name| chain.starts_with(name)) {
            "It is kube-proxy's, for a Service's loadBalancerSourceRanges."
        } else {
            "It is kube-proxy's, which drops so for loadBalancerSourceRanges, as far as is known."
        }
    }

    /// kube-proxy's rule for a Service without an endpoint on this node: by its comment
    /// in iptables, by its chain in nftables (`proxier.go` of either mode).
    pub(super) fn is_for_want_of_endpoints(&self) -> bool {
        let rule = &self.stop.rule;
        let says = |text: &str| rule.comment.as_deref().is_some_and(|c| c.contains(text));
        says("has no local endpoints") || rule.chain.ends_with("-endpoints-check")
    }

    /// What to do about it: `Mend it so that SYNs pass`, as long as it stands.
    pub(super) fn next(&self, mend: &str) -> String {
        let show = self.stop.rule.show();
        match self.past.and_then(|past| past.stands) {
            Some(false) => format!(
                "The rule is gone: find who wrote it and took it away again (a host firewall, a \
                 network policy, fail2ban), before it comes back. {show} shows its chain."
            ),
            _ => format!("See the rule with {show} {mend}"),
        }
    }

    pub(super) fn sure_if(self, holds: bool) -> Self {
        Self {
            sure: self.sure && holds,
            ..self
        }
    }

    pub(super) fn is_kube_proxy(&self) -> bool {
        self.stop.rule.owner == Owner::KubeProxy
    }

    /// The rule and its counter, a sentence; `took` says what it did.
    pub(super) fn sentence(&self, took: &str) -> String {
        let Stop {
            rule,
            packets,
            rise,
            ..
        } = &self.stop;
        if let Some(past) = self.past {
            return self.past_sentence(took, past);
        }
        let who = if self.sure {
            "A rule"
        } else {
            "Perhaps this rule"
        };
        let counted = match (packets, rise) {
            (Some(all), Some(rise @ 1..)) => format!(
                " Its counter stands at {all} packets; {rise} of them came since it was first read \
                 for this window."
            ),
            (Some(all), _) => format!(" Its counter stands at {all} packets."),
            (None, _) => String::new(),
        };
        let also = self.also.iter();
        let also = also.map(|(client, rule)| format!(" Those of {client} were taken by {rule}."));
        let also: String = also.collect();
        format!("{who} {took}: {rule}.{counted}{also}")
    }

    fn past_sentence(&self, took: &str, past: Past) -> String {
        let rule = &self.stop.rule;
        let who = if self.sure {
            "A rule"
        } else {
            "Perhaps this rule"
        };
        let ago = seconds(past.age);
        let counted = self.stop.packets.map_or_else(String::new, |all| {
            format!(", when its counter stood at {all} packets")
        });
        let now = match past.stands {
            Some(false) => "; it is gone since",
            Some(true) => "; it still stands",
            None => "",
        };
        format!(
            "{who} {took}: {rule}. It was last found to do so {ago} before the end of this \
             window{counted}{now}."
        )
    }
}
