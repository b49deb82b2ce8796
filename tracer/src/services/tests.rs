use std::{fs, path::PathBuf};

use super::{follow::Watched, *};

/// A file that is gone at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("tracer-names-{}-{name}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    /// As a mounted ConfigMap changes: another file takes the name.
    fn replace(&self, text: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn names(service: &str) -> String {
    format!(
        "ports:\n- {{node_port: 30101, namespace: thrift, service: {service}, port_name: p}}\n\
         - {{node_port: 80, namespace: thrift, service: unwatched}}\n"
    )
}

fn shared() -> Shared {
    Shared {
        watched: "30000-32767".parse().unwrap(),
        ..Shared::default()
    }
}

fn shown(shared: &Shared) -> Option<String> {
    shared.table.read().unwrap().service(30101)
}

#[test]
fn a_new_version_is_taken_and_a_broken_one_is_not() {
    let file = Scratch::new("versions", &names("users"));
    let shared = shared();
    let mut watched = Watched::new(&file.0);
    watched.look(&shared);
    assert_eq!(shown(&shared).as_deref(), Some("thrift/users:p"));
    file.replace(&names("accounts"));
    watched.look(&shared);
    assert_eq!(shown(&shared).as_deref(), Some("thrift/accounts:p"));
    for broken in ["ports: [", "prots: []", "ports: 1"] {
        file.replace(broken);
        watched.look(&shared);
        assert_eq!(shown(&shared).as_deref(), Some("thrift/accounts:p"));
    }
    fs::remove_file(&file.0).unwrap();
    watched.look(&shared);
    assert_eq!(shown(&shared).as_deref(), Some("thrift/accounts:p"));
    file.replace("# none any more\n");
    watched.look(&shared);
    assert_eq!(shown(&shared), None);
}

#[test]
fn ports_that_are_not_watched_have_no_names() {
    let file = Scratch::new("watched", &names("users"));
    let watched = "30000-32767".parse().unwrap();
    let table = Services::once(Some(&file.0), &watched).unwrap();
    assert_eq!(table.service(80), None);
    assert_eq!(table.ports().count(), 1);
    assert_eq!(*Services::once(None, &watched).unwrap(), Table::default());
}

#[test]
fn who_has_taken_a_table_keeps_it() {
    let services = Services {
        shared: Arc::new(shared()),
        _threads: Arc::default(),
    };
    let before = services.table();
    let file = Scratch::new("kept", &names("users"));
    Watched::new(&file.0).look(&services.shared);
    assert_eq!(before.service(30101), None);
    assert_eq!(
        services.table().service(30101).as_deref(),
        Some("thrift/users:p")
    );
}

#[test]
fn a_bad_file_stops_the_start() {
    let file = Scratch::new("start", "ports: [{}]");
    let watched = "30000-32767".parse().unwrap();
    let exit = Services::once(Some(&file.0), &watched).unwrap_err();
    assert_eq!(exit.code(), crate::exit::Code::Config);
    assert!(exit.to_string().contains("line 1"), "{exit}");
    let absent = file.0.with_extension("absent");
    let exit = Services::once(Some(&absent), &watched).unwrap_err();
    assert!(exit.to_string().ends_with("check --services"), "{exit}");
}
