//! The way through the rules of a chain.

use super::Walk;
use crate::evidence::rules::{
    Matches,
    find::find,
    table::{Op, Rule, Test, state},
};

/// Rules looked at for one SYN; chains in chains.
const STEPS: u32 = 200_000;
const DEPTH: u32 = 32;
/// Tests of chance: understood, yet never decided.
const CHANCE: [&str; 6] = [
    "-m statistic",
    "-m limit",
    "-m hashlimit",
    "limit",
    "numgen",
    "quota",
];

/// How a chain ends.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// How surely the SYN comes to the chain's end or RETURN.
    pub(super) on: Option<Matches>,
    /// It may have been accepted within.
    pub(super) accepted: bool,
}

/// A chain on the way.
pub(super) struct Frame {
    /// The SYN may be here.
    pub(super) reach: Option<Matches>,
    pub(super) returned: bool,
    pub(super) accepted: bool,
    pub(super) depth: u32,
}

impl Walk<'_> {
    pub(super) fn chain(&mut self, index: u32, entry: Matches, depth: u32) -> End {
        let tables = self.tables;
        let mut frame = Frame {
            reach: Some(entry),
            returned: false,
            accepted: false,
            depth,
        };
        let chain = tables.chains.get(index as usize);
        if chain.is_some_and(|chain| !chain.read) {
            self.outcome.unread.insert(index);
            self.outcome.incomplete = true;
            self.untouched = true;
            return End {
                on: Some(Matches::Maybe),
                accepted: true,
            };
        }
        let rules = chain.map(|chain| chain.rules.as_slice());
        for (rule, number) in rules.unwrap_or_default().iter().zip(0_u32..) {
            let Some(now) = frame.reach else { break };
            self.steps += 1;
            if self.steps > STEPS || depth > DEPTH {
                self.outcome.incomplete = true;
                return End {
                    on: Some(Matches::Maybe),
                    accepted: true,
                };
            }
            self.here = (index, number);
            self.rule(rule, now, &mut frame);
        }
        let passes = frame.returned || frame.reach.is_some();
        let on = if frame.accepted {
            Matches::Maybe
        } else {
            entry
        };
        End {
            on: passes.then_some(on),
            accepted: frame.accepted,
        }
    }

    fn rule(&mut self, rule: &Rule, now: Matches, frame: &mut Frame) {
        let mut sure = true;
        let mut doubt = false;
        for op in &rule.ops {
            match op {
                Op::Test(test) => match self.test(test) {
                    Some(true) => {}
                    Some(false) => return,
                    None => {
                        sure = false;
                        doubt |= !is_chance(test);
                    }
                },
                Op::Mark { keep, xor } => self.mark(*keep, *xor, sure && now == Matches::Yes),
                Op::MarkLost(bits) => self.packet.mark.0 &= !bits,
                Op::NoTrack if sure && now == Matches::Yes => {
                    self.packet.state = state::UNTRACKED;
                }
                Op::NoTrack => self.outcome.incomplete = true,
                Op::Verdict(verdict) => {
                    self.outcome.incomplete |= doubt;
                    self.verdict(verdict, now, sure, frame);
                    return;
                }
                Op::Verdicts(lookup) => {
                    self.outcome.incomplete |= doubt;
                    if self.verdicts(lookup, now, sure, frame) {
                        return;
                    }
                }
            }
        }
    }

    fn test(&mut self, test: &Test) -> Option<bool> {
        let Test::InSet { lookup, not } = test else {
            return self.packet.test(test);
        };
        match find(self.tables, &self.packet, lookup) {
            Some(found) => found.is_in().map(|is_in| is_in != *not),
            None => {
                self.outcome.missing.extend(lookup.set);
                None
            }
        }
    }

    fn mark(&mut self, keep: u32, xor: u32, surely: bool) {
        let (known, bits) = self.packet.mark;
        let new = (bits & keep) ^ xor;
        let new_known = known | !keep;
        self.packet.mark = if surely {
            (new_known, new)
        } else {
            (known & new_known & !(bits ^ new), bits)
        };
    }
}

fn is_chance(test: &Test) -> bool {
    matches!(test, Test::Unknown(name) if CHANCE.contains(&&**name))
}
