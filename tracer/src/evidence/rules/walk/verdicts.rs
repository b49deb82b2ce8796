//! What rules decide.

use super::{STOPS, Stopped, Translated, Walk, chains::Frame, least};
use crate::evidence::rules::{
    Action, Matches,
    find::find,
    table::{Data, Lookup, Verdict},
};

impl Walk<'_> {
    /// What a map says. Returns whether that ends the rule.
    pub(super) fn verdicts(
        &mut self,
        lookup: &Lookup,
        now: Matches,
        sure: bool,
        frame: &mut Frame,
    ) -> bool {
        let Some(found) = find(self.tables, &self.packet, lookup) else {
            self.outcome.missing.extend(lookup.set);
            self.outcome.incomplete = true;
            frame.accepted = true;
            frame.reach = Some(Matches::Maybe);
            return false;
        };
        let surely = sure && !found.open && found.hits.len() == 1;
        self.outcome.incomplete |= found.open;
        let here = self.here;
        for hit in &found.hits {
            if let Data::Verdict(verdict) = &hit.data {
                self.here = here;
                self.verdict(verdict, frame.reach.unwrap_or(now), surely, frame);
            }
        }
        surely
    }

    pub(super) fn verdict(
        &mut self,
        verdict: &Verdict,
        now: Matches,
        sure: bool,
        frame: &mut Frame,
    ) {
        let how = if sure { now } else { Matches::Maybe };
        let rest = if sure { None } else { Some(Matches::Maybe) };
        match verdict {
            Verdict::Stop(_) | Verdict::RejectEither(_) => {
                let action = self.action(verdict);
                self.stop(self.here.0, Some(self.here.1), action, how);
                let goes_on = !sure || self.packet.any_client;
                frame.reach = goes_on.then_some(now);
            }
            Verdict::Queue => {
                self.stop(self.here.0, Some(self.here.1), Action::Drop, Matches::Maybe);
                self.untouched = true;
                frame.accepted = true;
                frame.reach = rest;
            }
            Verdict::Accept => {
                self.untouched = true;
                frame.accepted = true;
                frame.reach = rest;
            }
            Verdict::Return => {
                frame.returned = true;
                frame.reach = rest;
            }
            Verdict::Jump(to) | Verdict::Goto(to) => {
                let end = self.chain(*to, how, frame.depth + 1);
                frame.accepted |= end.accepted;
                let goes = matches!(verdict, Verdict::Goto(_));
                frame.returned |= goes && end.on.is_some();
                frame.reach = match (goes, sure) {
                    (true, _) => rest,
                    (false, true) => end.on.map(|on| least(on, now)),
                    (false, false) if end.accepted => Some(Matches::Maybe),
                    (false, false) => Some(now),
                };
            }
            Verdict::Dnat(target) => {
                self.translates(how);
                self.dnat(target);
                frame.accepted = true;
                frame.reach = rest;
            }
            Verdict::Unknown(_) => {
                self.outcome.incomplete = true;
                self.untouched = true;
                frame.accepted = true;
                frame.reach = Some(Matches::Maybe);
            }
        }
    }

    /// Of a verdict that stops.
    fn action(&self, verdict: &Verdict) -> Action {
        match *verdict {
            Verdict::Stop(action) => action,
            Verdict::RejectEither(code) => {
                let code = match (code, self.packet.client.is_ipv4()) {
                    (0, _) => 0,
                    (1, true) => 3,
                    (1, false) => 4,
                    (2, true) => 1,
                    (2, false) => 3,
                    (_, true) => 13,
                    (_, false) => 1,
                };
                Action::RejectIcmp { code }
            }
            _ => Action::Drop,
        }
    }

    /// The rule translates the destination.
    fn translates(&mut self, how: Matches) {
        let (chain, rule) = self.here;
        // Something before it may have decided otherwise.
        let matches = if self.outcome.incomplete {
            Matches::Maybe
        } else {
            how
        };
        if self.outcome.translated.len() < STOPS {
            self.outcome.translated.push(Translated {
                chain,
                rule,
                matches,
            });
        }
    }

    pub(super) fn stop(&mut self, chain: u32, rule: Option<u32>, action: Action, matches: Matches) {
        let stops = &mut self.outcome.stops;
        if let Some(same) = stops
            .iter_mut()
            .find(|s| (s.chain, s.rule) == (chain, rule))
        {
            same.matches = same.matches.min(matches);
            return;
        }
        let before_dnat = self.before_dnat;
        let stop = Stopped {
            chain,
            rule,
            action,
            before_dnat,
            matches,
        };
        if stops.len() >= STOPS {
            self.outcome.incomplete = true;
            if matches == Matches::Yes {
                stops.pop();
            }
        }
        if stops.len() < STOPS {
            stops.push(stop);
        }
    }
}
