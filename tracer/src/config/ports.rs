//! The set of watched ports.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// Watched ports, at least one; written `30000-32767` or `30080,30100-30200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet(Vec<u16>);

impl PortSet {
    /// The ports, ascending, each once, none of them 0.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.0
    }

    /// How many ports, at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Default for PortSet {
    /// The range that Kubernetes takes NodePorts from (kube-apiserver's
    /// `--service-node-port-range`).
    fn default() -> Self {
        Self((30_000..=32_767).collect())
    }
}

impl FromStr for PortSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ports = BTreeSet::new();
        for part in text.split(',') {
            ports.extend(range(part.trim())?);
        }
        Ok(Self(ports.into_iter().collect()))
    }
}

fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| match text.trim().parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!(
            "`{text}` is no port from 1 to 65535 and no range such as 30000-32767"
        )),
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("the range `{text}` runs backwards"));
    }
    Ok(first..=last)
}

impl fmt::Display for PortSet {
    /// As ranges, the way the flag takes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        for (i, run) in runs.enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [only] => write!(f, "{comma}{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FileValue)
    }
}

/// In a file: the flag's text, one port, or a list of these.
struct FileValue;

impl<'de> Visitor<'de> for FileValue {
    type Value = PortSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ports such as 30000-32767, or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PortSet, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, port: u64) -> Result<PortSet, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_i64<E: Error>(self, port: i64) -> Result<PortSet, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PortSet, A::Error> {
        let mut parts = Vec::<String>::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        self.visit_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_without_repetition() {
        let set: PortSet = "30100-30102, 30080,30101,30103".parse().unwrap();
        assert_eq!(set.as_slice(), [30080, 30100, 30101, 30102, 30103]);
        assert_eq!(set.to_string(), "30080,30100-30103");
    }

    #[test]
    fn the_ends_of_the_port_space() {
        let all: PortSet = "1-65535".parse().unwrap();
        assert_eq!(all.as_slice().len(), 65_535);
        assert_eq!(all.to_string(), "1-65535");
    }

    #[test]
    fn the_default_is_what_kubernetes_hands_out() {
        assert_eq!(PortSet::default(), "30000-32767".parse().unwrap());
    }

    #[test]
    fn bad_ports_are_refused() {
        for bad in [
            "", "0", "0-5", "65536", "5-4", "1-", "-1", "a", "1,,2", "1-2-3",
        ] {
            assert!(bad.parse::<PortSet>().is_err(), "{bad}");
        }
    }
}
