use std::{
    fs,
    path::{Path, PathBuf},
};

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

fn config(services: Option<&Path>) -> Config {
    let mut config = Config::new(Default::default(), Default::default()).unwrap();
    config.services = services.map(Into::into);
    config
}

fn shared() -> Shared {
    Shared::new(&config(None))
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
    let table = Services::once(&config(Some(&file.0))).unwrap();
    assert_eq!(table.service(80), None);
    assert_eq!(table.ports().count(), 1);
    assert_eq!(*Services::once(&config(None)).unwrap(), Table::default());
}

#[test]
fn what_the_file_says_stands_before_what_kubernetes_says() {
    let shared = shared();
    let other = Table::named(30102, "thrift", "search", "p");
    shared.set_kubernetes(Table::named(30101, "kube", "system", "").or(&other));
    assert_eq!(shown(&shared).as_deref(), Some("kube/system"));
    shared.set_file(Table::named(30101, "thrift", "users", "p"));
    assert_eq!(shown(&shared).as_deref(), Some("thrift/users:p"));
    assert_eq!(shared.table.read().unwrap().ports().count(), 2);
    shared.set_kubernetes(Table::default());
    assert_eq!(shared.table.read().unwrap().ports().count(), 1);
    shared.set_file(Table::default());
    assert_eq!(shown(&shared), None);
}

#[test]
fn where_checks_go_is_forgotten_without_the_gate() {
    let checked = names("users").replace("port_name: p", "health_check_port: 30102");
    let file = Scratch::new("gate", &checked);
    let mut config = config(Some(&file.0));
    assert_eq!(Services::once(&config).unwrap().unchecked(), [30101]);
    config.health_check_gate = HealthCheckGate::Off;
    assert!(Services::once(&config).unwrap().unchecked().is_empty());
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
    let exit = Services::once(&config(Some(&file.0))).unwrap_err();
    assert_eq!(exit.code(), crate::exit::Code::Config);
    assert!(exit.to_string().contains("line 1"), "{exit}");
    let absent = file.0.with_extension("absent");
    let exit = Services::once(&config(Some(&absent))).unwrap_err();
    assert!(exit.to_string().ends_with("check --services"), "{exit}");
}
