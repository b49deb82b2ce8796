//! What every answer in JSON begins with.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{build_info, exit::Exit, explain, human};

/// The form of the answers: raised when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: u32,
    version: &'static str,
    node: String,
    /// When it was made, unless the answer says when it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(flatten)]
    answer: &'a T,
}

fn envelope<T: Serialize>(answer: &T, time: Option<String>) -> Envelope<'_, T> {
    Envelope {
        schema: SCHEMA,
        version: build_info::VERSION,
        node: explain::node(),
        time,
        answer,
    }
}

/// An answer of now, as lines that people can read.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json(answer: &impl Serialize) -> Result<String, Exit> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0.0, |since| since.as_secs_f64());
    let json = serde_json::to_string_pretty(&envelope(answer, Some(human::time(now))));
    json.map(|json| json + "\n")
        .map_err(|e| Exit::runtime("write JSON", e))
}

/// An answer that says itself when it is of, in one line.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json_line(answer: &impl Serialize) -> Result<String, Exit> {
    let json = serde_json::to_string(&envelope(answer, None));
    json.map_err(|e| Exit::runtime("write JSON", e))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::{Explanation, PortRow, Sight, Top, TopPort};

    fn rfc3339(value: &Value) -> bool {
        let text = value["time"].as_str().unwrap();
        humantime::parse_rfc3339(text).is_ok() && text.ends_with('Z')
    }

    fn head(value: &Value) {
        assert_eq!(value["schema"], 1);
        assert_eq!(value["version"], build_info::VERSION);
        assert_eq!(value["node"], explain::node());
        assert!(rfc3339(value), "{value}");
    }

    #[test]
    fn every_answer_says_what_it_is_and_names_stand_by_themselves() {
        let service = || Some("thrift/users:api".to_owned());
        let explanation = Explanation {
            window_s: 60.0,
            ports: vec![PortRow {
                service: service(),
                ..PortRow::default()
            }],
            verdicts: Vec::new(),
            unexplained: 0,
            not_visible: Vec::new(),
            sight: Sight::default(),
        };
        let value: Value = serde_json::from_str(&json(&explanation).unwrap()).unwrap();
        head(&value);
        let top = Top {
            time: 1_700_000_000.25,
            ports: vec![TopPort {
                service: service(),
                ..TopPort::default()
            }],
            ..Top::default()
        };
        let line: Value = serde_json::from_str(&json_line(&top).unwrap()).unwrap();
        head(&line);
        assert_eq!(line["time"], "2023-11-14T22:13:20.250Z");
        assert_eq!(line["time_s"], 1_700_000_000.25);
        for port in [&value["ports"][0], &line["ports"][0]] {
            assert_eq!(port["service"], "thrift/users:api");
            assert_eq!(port["namespace"], "thrift");
            assert_eq!(port["service_name"], "users");
            assert_eq!(port["port_name"], "api");
        }
    }

    #[test]
    fn what_travels_comes_back() {
        for service in [None, Some("thrift/users"), Some("thrift/users:api")] {
            let port = PortRow {
                service: service.map(str::to_owned),
                ..PortRow::default()
            };
            let json = serde_json::to_string(&port).unwrap();
            assert_eq!(serde_json::from_str::<PortRow>(&json).unwrap(), port);
        }
        let value = serde_json::to_value(PortRow::default()).unwrap();
        assert!(value["namespace"].is_null() && value["service"].is_null());
    }
}
