//! The answer as JSON, with what the answers of all commands begin with.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::answer::Answer;
use crate::{build_info, exit::Exit, human};

/// The form of the answers: raised when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    version: &'static str,
    /// The node's name, which no capture tells.
    node: Option<&'static str>,
    /// When this was said, RFC 3339 in UTC; the capture's own time is in `from` and
    /// `window_s`.
    time: String,
    #[serde(flatten)]
    answer: &'a Answer,
}

/// Writes the answer as it is said now.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn json(answer: &Answer) -> Result<String, Exit> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let document = Document {
        schema: SCHEMA,
        version: build_info::VERSION,
        node: None,
        time: human::time(now.map_or(0.0, |since| since.as_secs_f64())),
        answer,
    };
    let json = serde_json::to_string_pretty(&document);
    json.map(|json| json + "\n")
        .map_err(|e| Exit::runtime("write JSON", e))
}
