//! Tables: a name, evidence, the findings expected.

mod backend;
pub(crate) mod bed;
mod claims;
mod conntrack;
mod flood;
mod found;
mod interfaces;
mod near_misses;
mod path;
mod pods;
mod process;
mod properties;
mod queues;
mod service;
mod sets;
mod texts;
mod together;

use super::{Certainty, Verdict, judge};
use bed::Bed;

/// Verdict, certainty, failed attempts, connections.
type Expected = (Verdict, Certainty, u64, u64);

/// Every line of a table must yield exactly the findings expected.
fn check(table: &[(&str, Bed, &[Expected])]) {
    for (name, bed, expected) in table {
        let judgement = judge(&bed.0);
        let found: Vec<Expected> = judgement
            .findings
            .iter()
            .map(|f| (f.verdict, f.certainty, f.failed, f.connections))
            .collect();
        assert_eq!(found, *expected, "{name}: {judgement:#?}");
    }
}
