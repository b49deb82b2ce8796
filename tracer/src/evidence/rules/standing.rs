//! Whether a rule that took SYNs once still stands.

use super::{RuleName, RuleSets};

impl RuleSets {
    /// Whether a rule still stands, wherever in its chain; `None`: not all that it takes
    /// to tell was read.
    #[must_use]
    pub fn holds(&self, name: &RuleName) -> Option<bool> {
        let tables = &self.read.tables;
        let mut unread = !self.known || self.read.gaps;
        for chain in &tables.chains {
            let of_table = tables
                .tables
                .get(chain.table as usize)
                .is_some_and(|table| {
                    (table.family, table.tool) == (name.family, name.tool)
                        && *table.name == name.table
                });
            if !of_table || *chain.name != name.chain {
                continue;
            }
            unread |= !chain.read;
            let policy = (None, None);
            let rules = chain.rules.iter().zip(0_u32..);
            let mut all = rules.map(|(rule, n)| (Some(n), Some(rule))).chain([policy]);
            let is_it = |(number, rule)| {
                self.name(chain, number, rule)
                    .is_some_and(|known| known.is_same(name))
            };
            if all.any(is_it) {
                return Some(true);
            }
        }
        (!unread).then_some(false)
    }
}
