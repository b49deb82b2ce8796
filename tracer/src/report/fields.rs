//! Fields that stand in JSON in more than one form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A Service's port: `namespace/name:port_name` in one, and its parts.
pub mod service {
    use super::*;

    #[derive(Serialize)]
    struct Parts<'a> {
        service: Option<&'a str>,
        namespace: Option<&'a str>,
        service_name: Option<&'a str>,
        port_name: Option<&'a str>,
    }

    #[derive(Deserialize)]
    struct Whole {
        #[serde(default)]
        service: Option<String>,
    }

    /// Writes it and its parts; names have neither `/` nor `:` in them.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(whole: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
        let service = whole.as_deref();
        let parts = service.and_then(|whole| whole.split_once('/'));
        let name = parts.map(|(_, name)| name.split_once(':').unwrap_or((name, "")));
        Parts {
            service,
            namespace: parts.map(|(namespace, _)| namespace),
            service_name: name.map(|(name, _)| name),
            port_name: name.map(|(_, port)| port).filter(|port| !port.is_empty()),
        }
        .serialize(to)
    }

    /// Reads the whole alone.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        Whole::deserialize(from).map(|whole| whole.service)
    }
}

/// A time: RFC 3339 in UTC, and seconds since the Unix epoch.
pub mod time {
    use super::*;
    use crate::human;

    #[derive(Serialize, Deserialize)]
    struct Both {
        #[serde(default, skip_deserializing)]
        time: String,
        time_s: f64,
    }

    /// Writes both.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(seconds: &f64, to: S) -> Result<S::Ok, S::Error> {
        let time_s = *seconds;
        let time = human::time(time_s);
        Both { time, time_s }.serialize(to)
    }

    /// Reads the seconds.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Both::deserialize(from).map(|both| both.time_s)
    }
}
