//! Facts that were found when failures were judged, and are gone since.

use super::{
    super::{Certainty, Verdict, judge},
    bed::{Bed, CLIENT, Make as _, bed, pod, silent, stop},
};
use crate::evidence::{
    Fact, Found, Row,
    rules::{Action, Owner, RuleSets, Stop, Traced},
};

const SECOND: u64 = 1_000_000_000;
/// When the window ended.
const ENDED: u64 = 1_000 * SECOND;

fn dropped() -> Row {
    let row = silent().from(CLIENT);
    row.syn("NETFILTER_DROP", "nft_do_chain").sent(400)
}

trait Then {
    fn sent(self, ago: u64) -> Row;
    fn found(self, fact: Fact, count: u64, ago: u64) -> Row;
}

impl Then for Row {
    /// All so many seconds before the end.
    fn sent(self, ago: u64) -> Row {
        let at = ENDED - ago * SECOND;
        Row {
            span: Some((at, at)),
            ..self
        }
    }

    fn found(mut self, fact: Fact, count: u64, ago: u64) -> Row {
        self.found.push(Found {
            fact,
            count,
            last: ENDED - ago * SECOND,
        });
        self
    }
}

fn rule(chain: &str) -> Stop {
    let mut stop = stop(Owner::Other, Action::Drop);
    stop.rule.chain = chain.to_owned();
    stop
}

fn taken_by(chain: &str, sure: bool) -> Fact {
    Fact::Rule {
        stop: rule(chain),
        sure,
    }
}

/// The rules now: one takes every SYN, or none does.
fn now(row: Row, takes: Option<Stop>) -> Bed {
    let mut bed = bed([row]);
    bed.0.ended = ENDED;
    let traced = Traced {
        stops: takes.into_iter().collect(),
        backends: vec![pod()],
        complete: true,
        complete_before_dnat: true,
    };
    bed.0.rules = RuleSets::answering(traced, None).into();
    bed
}

#[track_caller]
fn told(bed: &Bed, certainty: Certainty, says: &[&str], never: &[&str]) {
    let judgement = judge(&bed.0);
    let [finding] = &judgement.findings[..] else {
        panic!("{judgement:#?}")
    };
    let text = format!("{} {}", finding.evidence.join(" "), finding.next);
    assert_eq!(finding.verdict, Verdict::DroppedByRule, "{text}");
    assert_eq!(finding.certainty, certainty, "{text}");
    for said in says {
        assert!(text.contains(said), "{said}: {text}");
    }
    for said in never {
        assert!(!text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_rule_that_is_gone_is_still_the_one() {
    let gone = dropped().found(taken_by("fence", true), 3, 398);
    told(
        &now(gone.clone(), None),
        Certainty::Certain,
        &[
            "A rule took the SYN",
            "fence",
            "398 s before",
            "gone since",
            "before it comes back",
        ],
        &["Perhaps"],
    );
    // Another one takes such SYNs by now.
    told(
        &now(gone, Some(rule("other"))),
        Certainty::Certain,
        &["fence", "gone since"],
        &["other"],
    );
}

#[test]
fn what_was_not_sure_then_is_not_sure_now() {
    let unsure = dropped().found(taken_by("fence", false), 3, 398);
    let perhaps = &["Perhaps this rule took the SYN", "fence"];
    told(&now(unsure, None), Certainty::Likely, perhaps, &[]);
    let few = dropped().found(taken_by("fence", true), 1, 398);
    told(&now(few.clone(), None), Certainty::Likely, perhaps, &[]);
    // One that took the rest leaves it open which took them.
    told(
        &now(few, Some(rule("other"))),
        Certainty::Likely,
        &["Perhaps this rule took the SYN", "other"],
        &["gone"],
    );
}

#[test]
fn a_rule_that_takes_them_now_need_not_have_been_there_then() {
    let live = Some(rule("fence"));
    told(
        &now(dropped(), live.clone()),
        Certainty::Likely,
        &["Perhaps"],
        &[],
    );
    told(
        &now(dropped().sent(5), live.clone()),
        Certainty::Certain,
        &["A rule"],
        &[],
    );
    let same = dropped().found(taken_by("fence", true), 3, 398);
    told(
        &now(same, live),
        Certainty::Certain,
        &["A rule"],
        &["gone", "found"],
    );
}

#[test]
fn a_neighbour_that_answers_again_did_not_then() {
    let fact = || Fact::Neighbour {
        backend: pod(),
        state: "FAILED".to_owned(),
    };
    let lost = || silent().to(pod()).sent(400);
    let host = || super::bed::icmp(1).to(pod()).sent(400);
    let healed = |row: Row| {
        let mut bed = bed([row]).beyond();
        bed.0.ended = ENDED;
        judge(&bed.0).findings.remove(0)
    };
    for row in [lost(), host()] {
        let finding = healed(row.found(fact(), 3, 398));
        assert_eq!(finding.verdict, Verdict::BackendUnreachable);
        assert_eq!(finding.certainty, Certainty::Certain, "{finding:#?}");
        let text = finding.evidence.join(" ");
        assert!(text.contains("was FAILED up to 398 s before"), "{text}");
    }
    // conntrack alone knew where they waited, and its entry is gone.
    let waited = healed(silent().sent(400).found(fact(), 3, 398));
    assert_eq!(
        (waited.verdict, waited.backend),
        (Verdict::BackendUnreachable, Some(pod()))
    );
    let few = healed(lost().found(fact(), 1, 398));
    assert_eq!(few.verdict, Verdict::Unexplained, "{few:#?}");
    // Dead by now, and nobody knows since when.
    let mut dead = bed([lost()]).beyond().neighbour("FAILED");
    dead.0.ended = ENDED;
    let dead = judge(&dead.0).findings.remove(0);
    let expected = (Verdict::BackendUnreachable, Certainty::Likely);
    assert_eq!((dead.verdict, dead.certainty), expected);
}
