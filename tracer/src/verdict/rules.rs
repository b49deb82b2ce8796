//! Which rule of the node's took a row's SYNs, as far as its rule sets tell.

use std::net::IpAddr;

use tracer_common::failure::Reply;

use super::{
    case::{Case, sum},
    culprit::{Culprit, Past},
    found,
};
use crate::evidence::{
    InterfaceName,
    rules::{Action, Matches, ProxyMode, RuleName, Stop, Syn, Traced},
};

/// Clients whose SYNs are traced, those with the most failures first.
const CLIENTS: usize = 4;

/// What the rule sets say of a row's SYNs.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The rule that took them.
    pub culprit: Option<Culprit>,
    /// Rule sets were read, all of them that the SYNs meet, and none takes these.
    pub clear: bool,
    /// The same of those that SYNs meet before NAT translates their destination.
    pub clear_before_dnat: bool,
    /// They were read in full, and none translates the destination.
    pub untranslated: bool,
}

/// Asks the rule sets about the SYNs of a row, and what was found of them when they came.
pub(super) fn told(case: &Case<'_>) -> Told {
    let live = live(case);
    let Some((stop, was_sure, then)) = case.rule_then() else {
        let agrees = case.is_recent();
        return Told {
            culprit: live.culprit.map(|culprit| culprit.sure_if(agrees)),
            ..live
        };
    };
    let of_most = found::is_of_most(case.row, then);
    let is_same = |culprit: &Culprit| {
        culprit.stop.action == stop.action && culprit.stop.rule.is_same(&stop.rule)
    };
    let culprit = match live.culprit {
        Some(culprit) if is_same(&culprit) => Culprit {
            sure: (culprit.sure && case.is_recent()) || (of_most && (culprit.sure || was_sure)),
            ..culprit
        },
        // The others of them are its.
        Some(culprit) if !of_most => culprit.sure_if(false),
        _ => Culprit {
            stop: stop.clone(),
            sure: of_most && was_sure,
            also: Vec::new(),
            past: Some(Past {
                age: case.evidence.ended.saturating_sub(then.last),
                stands: case.evidence.rules.holds(&stop.rule),
            }),
        },
    };
    Told {
        culprit: Some(culprit),
        // What is so now need not have been so then.
        untranslated: live.untranslated && case.is_recent(),
        ..live
    }
}

/// Asks the rule sets about the SYNs of a row.
pub(super) fn live(case: &Case<'_>) -> Told {
    let rules = &case.evidence.rules;
    let syns = syns(case);
    // What was seen in a pod's namespace had passed the node's rules: the pod has its own.
    let beyond = case.row.netns != 0;
    if !rules.is_known() || syns.is_empty() || beyond {
        return Told::default();
    }
    let traced: Vec<Traced> = syns.iter().map(|syn| rules.trace(syn)).collect();
    let complete = traced.iter().all(|traced| traced.complete);
    let fits = |stop: &&Stop| answers_so(case, stop.action) && stop.packets != Some(0);
    let none = |traced: &Traced| !traced.stops.iter().any(|stop| fits(&stop));
    Told {
        culprit: culprit((&traced, &syns), fits, |stop| taken(case, &syns, stop)).map(|culprit| {
            let all = culprit.stop.matches == Matches::Yes;
            let spares = all && is_spared(case, &syns, &culprit.stop);
            culprit.sure_if(!spares)
        }),
        clear: complete && traced.iter().all(none),
        clear_before_dnat: traced.iter().all(|t| t.complete_before_dnat && none(t)),
        untranslated: complete && traced.iter().all(|traced| traced.backends.is_empty()),
    }
}

/// Whether rules of the node lead its port, at the address dialled, to a backend now,
/// whoever the client is.
pub(super) fn lead_on(case: &Case<'_>) -> bool {
    let syns = syns(case);
    let mut told = syns.iter().map(|syn| case.evidence.rules.translates(syn));
    told.any(|translates| translates == Some(true))
}

/// Whether SYNs of the same clients that a rule would have taken too, since it fits them
/// all, came through in the midst of these.
fn is_spared(case: &Case<'_>, syns: &[Syn], stop: &Stop) -> bool {
    let backend = case.row.backend;
    let mut amid = case.row.amid.iter();
    amid.any(|served| {
        let same = |syn: &&Syn| served.client == Some(syn.client) && served.dialled == syn.dialled;
        let mut syns = syns.iter().filter(same);
        (backend.is_none() || served.backend == backend)
            && syns.any(|syn| meets(case, syn, served.interface, stop))
    })
}

/// Attempts that a rule is to have taken: those of the row, and of rows that differ from it
/// in nothing but the interface.
fn taken(case: &Case<'_>, syns: &[Syn], stop: &Stop) -> u64 {
    let others = case.evidence.rows.iter();
    let others = others.filter(|other| other.differs_by_interface(case.row));
    let met = others.filter(|other| {
        let mut syns = syns.iter();
        syns.any(|syn| meets(case, syn, other.interface, stop))
    });
    sum(met.map(|other| other.count)).saturating_add(case.row.count)
}

/// Whether a rule that stops a SYN may stop it as well where it comes in by that interface;
/// `None`: it is not known by which.
fn meets(case: &Case<'_>, syn: &Syn, by: Option<InterfaceName>, stop: &Stop) -> bool {
    if by.is_none() || by == syn.interface {
        return true;
    }
    let other = Syn {
        interface: by,
        ..syn.clone()
    };
    let traced = case.evidence.rules.trace(&other);
    traced.stops.iter().any(|other| other.rule == stop.rule)
}

/// The rule that surely stops a SYN.
fn surely(traced: &Traced, fits: impl Fn(&&Stop) -> bool) -> Option<&Stop> {
    let mut candidates = traced.stops.iter().filter(fits);
    // Those before it that may fit leave it open, unless their counters stand still.
    candidates
        .find(|stop| stop.matches == Matches::Yes || stop.rise != Some(0))
        .filter(|stop| stop.matches == Matches::Yes)
}

/// `failed`: attempts that a rule is to have taken.
fn culprit(
    (traced, syns): (&[Traced], &[Syn]),
    fits: impl Fn(&&Stop) -> bool,
    failed: impl Fn(&Stop) -> u64,
) -> Option<Culprit> {
    let first = traced.first()?;
    let candidates: Vec<&Stop> = first.stops.iter().filter(&fits).collect();
    let certain = candidates.iter().find(|stop| stop.matches == Matches::Yes);
    let stop = certain.or_else(|| candidates.iter().max_by_key(|stop| stop.rise))?;
    let is_in = |other: &Traced| {
        let same = |s: &Stop| s.rule == stop.rule && s.matches == stop.matches;
        other.stops.iter().any(same)
    };
    // Other clients may have met other rules, of the same owner.
    let others = traced.iter().zip(syns).filter(|(other, _)| !is_in(other));
    let also: Option<Vec<(IpAddr, RuleName)>> = others
        .map(|(other, syn)| {
            let own = surely(other, &fits)?;
            (own.rule.owner == stop.rule.owner).then(|| (syn.client, own.rule.clone()))
        })
        .collect();
    let in_all = also.is_some();
    let also = also.unwrap_or_default();
    let before = candidates.iter().position(|s| s.rule == stop.rule)?;
    let alone = candidates.len() == 1 && stop.rise >= Some(failed(stop));
    // Rules that are asked before it and may fit leave it open, unless their counters
    // stand still.
    let open = candidates.iter().take(before).any(|s| s.rise != Some(0));
    let sure = in_all && (stop.matches == Matches::Yes && !open || alone);
    Some(Culprit {
        stop: (*stop).clone(),
        sure,
        past: None,
        also,
    })
}

/// Whether an action gives the client what it got. ICMP errors are rationed, so that a
/// REJECT may leave a SYN without an answer.
fn answers_so(case: &Case<'_>, action: Action) -> bool {
    match (case.row.reply, action) {
        (Reply::NodeRst, Action::RejectReset) => true,
        (Reply::Icmp | Reply::Icmpv6, Action::RejectIcmp { code }) => code == case.row.code,
        (Reply::None, Action::Drop) => true,
        (Reply::None, Action::RejectIcmp { .. }) => {
            case.is_late() || case.evidence.node.icmp_limited != Some(0)
        }
        _ => false,
    }
}

fn syns(case: &Case<'_>) -> Vec<Syn> {
    let Some(dialled) = case.row.dialled else {
        return Vec::new();
    };
    // The address of a late attempt is the one that a SYN sent again was translated to.
    let backend = case.address().filter(|_| !case.is_late());
    let clients = case.row.sources.iter().take(CLIENTS);
    let syn = |client: IpAddr| Syn {
        client,
        client_port: None,
        dialled,
        node_port: case.port(),
        interface: case.row.interface,
        backend,
        way_out: None,
    };
    clients.map(|(client, _)| syn(*client)).collect()
}

/// A command that lists the rules which drop or reject, for who has to find one.
pub(super) fn find(case: &Case<'_>, what: &str) -> String {
    let v6 = case.row.dialled.is_some_and(|ip| ip.is_ipv6());
    let upper = what.to_uppercase();
    match (case.evidence.rules.mode(), v6) {
        (Some(ProxyMode::Nftables), _) => format!("`nft -a list ruleset | grep -n {what}`"),
        (Some(ProxyMode::IptablesLegacy), false) => {
            format!("`iptables-legacy-save -c | grep -e {upper}`")
        }
        (Some(ProxyMode::IptablesLegacy), true) => {
            format!("`ip6tables-legacy-save -c | grep -e {upper}`")
        }
        (_, false) => {
            format!(
                "`iptables-save -c | grep -e {upper}` and `nft -a list ruleset | grep -n {what}`"
            )
        }
        (_, true) => {
            format!(
                "`ip6tables-save -c | grep -e {upper}` and `nft -a list ruleset | grep -n {what}`"
            )
        }
    }
}
