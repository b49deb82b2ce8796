//! The file of names.

use std::{collections::btree_map::Entry, net::IpAddr, path::Path};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    name,
    table::{Pod, ServicePort, Table},
};
use crate::{exit::Exit, files, yaml};

/// Largest file, bytes.
const LARGEST: u64 = 8 << 20;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Contents {
    ports: Option<Vec<Spanned<PortEntry>>>,
    pods: Option<Vec<Spanned<PodEntry>>>,
    service_addresses: Option<Vec<IpAddr>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortEntry {
    node_port: i64,
    namespace: String,
    service: String,
    #[serde(default)]
    port_name: String,
    health_check_port: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodEntry {
    address: IpAddr,
    namespace: String,
    pod: String,
}

/// Reads a YAML file of names.
///
/// # Errors
/// [`crate::exit::Code::Config`] when it cannot be read, has an unknown key, a
/// bad value, or a port or address twice; the message has the line and column.
pub(super) fn read(path: &Path) -> Result<Table, Exit> {
    let shown = path.display();
    let text = files::read_text(path, LARGEST).map_err(|e| e.exit(path, "--services"))?;
    parse(&text).map_err(|cause| {
        Exit::config(shown, cause).remedy("the README shows what a file for --services looks like")
    })
}

fn parse(text: &str) -> Result<Table, String> {
    let contents: Contents = yaml::parse(text)?;
    let mut table = Table::default();
    for entry in contents.ports.unwrap_or_default() {
        let at = place(&entry);
        let (port, service) = entry.value.check().map_err(|e| e + &at)?;
        match table.ports.entry(port) {
            Entry::Vacant(new) => new.insert(service),
            Entry::Occupied(_) => return Err(format!("port {port} has two names{at}")),
        };
    }
    let addresses = contents.service_addresses.unwrap_or_default();
    table.addresses = addresses.iter().map(IpAddr::to_canonical).collect();
    for entry in contents.pods.unwrap_or_default() {
        let at = place(&entry);
        let (address, pod) = entry.value.check().map_err(|e| e + &at)?;
        if table.pods.insert(address, pod).is_some() {
            return Err(format!("address {address} has two names{at}"));
        }
    }
    Ok(table)
}

/// Where an entry stands, as the parser says it of its own errors.
fn place<T>(entry: &Spanned<T>) -> String {
    let at = entry.defined;
    format!(" at line {}, column {}", at.line(), at.column())
}

impl PortEntry {
    fn check(self) -> Result<(u16, ServicePort), String> {
        let Self {
            node_port,
            namespace,
            service,
            port_name,
            health_check_port,
        } = self;
        let node_port = port("node_port", node_port)?;
        let health_check_port = health_check_port.map(|number| port("health_check_port", number));
        let port_name = if port_name.is_empty() {
            Box::default()
        } else {
            named("port_name", port_name, name::LABEL)?
        };
        let service = ServicePort {
            namespace: named("namespace", namespace, name::LABEL)?,
            service: named("service", service, name::LABEL)?,
            port_name,
            health_check_port: health_check_port.transpose()?,
        };
        Ok((node_port, service))
    }
}

impl PodEntry {
    fn check(self) -> Result<(IpAddr, Pod), String> {
        let pod = Pod {
            namespace: named("namespace", self.namespace, name::LABEL)?,
            name: named("pod", self.pod, name::POD)?,
        };
        Ok((self.address.to_canonical(), pod))
    }
}

fn port(key: &str, number: i64) -> Result<u16, String> {
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("{key}: not between 1 and 65535"))
}

fn named(key: &str, value: String, longest: usize) -> Result<Box<str>, String> {
    if !value.is_empty() && name::is_plain(&value, longest) {
        return Ok(value.into());
    }
    let shown: String = value.chars().take(longest).collect();
    Err(format!(
        "{key}: `{shown}` is no name (1 to {longest} letters, digits, `-`, `.` and `_`)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
ports:
  - {node_port: 30101, namespace: thrift, service: users, port_name: thrift}
  - node_port: 30102
    namespace: thrift
    service: search
    health_check_port: 30101
pods:
  - {address: 10.244.0.2, namespace: thrift, pod: search-5d4f-x2}
  - {address: '::ffff:10.244.0.3', namespace: thrift, pod: users-0}
service_addresses: [10.66.200.1, '2001:db8::1']
";

    #[test]
    fn a_file_names_ports_and_pods() {
        let table = parse(WHOLE).unwrap();
        assert_eq!(table.service(30101).as_deref(), Some("thrift/users:thrift"));
        assert_eq!(table.service(30102).as_deref(), Some("thrift/search"));
        assert_eq!(table.service(30103), None);
        assert_eq!(table.health_check_port(30101), None);
        assert_eq!(table.health_check_port(30102), Some(30101));
        assert_eq!(table.unchecked(), [30102]);
        let addresses = ["10.66.200.1", "2001:db8::1"].map(|a| a.parse().unwrap());
        assert_eq!(*table.addresses(), addresses.into());
        let pod = |address: &str| table.pod(address.parse().unwrap());
        assert_eq!(pod("10.244.0.2").as_deref(), Some("thrift/search-5d4f-x2"));
        assert_eq!(pod("10.244.0.3").as_deref(), Some("thrift/users-0"));
    }

    #[test]
    fn nothing_is_no_names() {
        for text in ["", "# soon\n---\n", "ports:\n", "ports: []\npods:\n"] {
            assert_eq!(parse(text).unwrap(), Table::default(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let port = |rest: &str| format!("ports:\n  - {{node_port: 30101, {rest}}}\n");
        let long = "x".repeat(64);
        for (text, words, line) in [
            ("port: []\n".to_owned(), "`port`", "line 1"),
            (
                port("namespace: a, service: b, name: c"),
                "`name`",
                "line 2",
            ),
            (port("namespace: a"), "service", "line 2"),
            (
                port("namespace: a, service: b, health_check_port: 0"),
                "health_check_port: not between 1",
                "line 2",
            ),
            (port("namespace: '', service: b"), "namespace: ``", "line 2"),
            (
                port("namespace: a, service: 'b/c'"),
                "service: `b/c`",
                "line 2",
            ),
            (
                port(&format!("namespace: a, service: {long}")),
                "1 to 63",
                "line 2",
            ),
            (
                "ports:\n- {node_port: 70000, namespace: a, service: b}".to_owned(),
                "node_port: not between 1 and 65535 at line 2, column",
                "line 2",
            ),
            (
                "ports:\n- {node_port: 0, namespace: a, service: b}".to_owned(),
                "not between 1",
                "line 2",
            ),
            (
                WHOLE.replace("30102", "30101"),
                "port 30101 has two names",
                "line 4",
            ),
            (
                WHOLE.replace("10.244.0.3", "10.244.0.2"),
                "address 10.244.0.2 has two names",
                "line 10",
            ),
            (
                WHOLE.replace("10.244.0.2", "10.244.0"),
                "invalid IP address",
                "line 9",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(
                error.contains(words) && error.contains(line),
                "{text}: {error}"
            );
        }
    }
}
