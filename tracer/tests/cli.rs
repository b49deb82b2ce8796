//! The binary from outside: exit codes, and which layer of settings wins.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Output},
};

fn tracer(args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A port that is taken: `tracer run` says so and ends before it loads anything.
fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A configuration file of one test, removed at its end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A file left in the temporary directory does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn version_names_the_commit() {
    let output = tracer(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = concat!("tracer ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn wrong_arguments_are_usage() {
    for args in [
        &["run", "--flows", "1"][..],
        &["run", "--flow"],
        &["nonsense"],
        &[],
    ] {
        assert_eq!(tracer(args, &[]).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_wrong_environment_is_configuration_and_named() {
    let output = tracer(&["run"], &[("TRACER_WEB_LISTEN_ADDRESS", "here")]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(
        text.contains("`here`") && text.contains("TRACER_WEB_LISTEN_ADDRESS"),
        "{text}"
    );
}

#[test]
fn wrong_usage_stays_usage_whatever_the_environment() {
    let output = tracer(&["run", "--flows", "1"], &[("TRACER_IDLE_AFTER", "never")]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_wrong_file_is_configuration_and_its_place_is_named() {
    let file = File::new("wrong", "flows: 64\nidle_aftr: 5s\n");
    let output = tracer(&["run", "--config", file.path()], &[]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(
        text.contains("idle_aftr") && text.contains("line 2"),
        "{text}"
    );
    let output = tracer(&["check"], &[("TRACER_CONFIG", "/nonexistent/tracer.yaml")]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn flags_win_over_environment_over_file() {
    let (_listener, address) = taken();
    let address = address.to_string();
    let named = format!("listen on {address}: address in use; stop the other process");
    let file = File::new("layers", "web:\n  listen_address: 192.0.2.1:1\n");
    let by_flag = [
        "run",
        "--config",
        file.path(),
        "--web.listen-address",
        &address,
    ];
    let by_environment = ["run", "--config", file.path()];
    for (args, variable) in [
        (&by_flag[..], "192.0.2.2:2"),
        (&by_environment[..], &address),
    ] {
        let output = tracer(args, &[("TRACER_WEB_LISTEN_ADDRESS", variable)]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(&named), "{}", stderr(&output));
    }
    let by_file = tracer(&by_environment, &[]);
    assert!(
        stderr(&by_file).contains("listen on 192.0.2.1:1:"),
        "{}",
        stderr(&by_file)
    );
}

#[test]
fn the_last_word_has_the_form_of_the_log() {
    let (_listener, address) = taken();
    let args = [
        "run",
        "--log.format",
        "json",
        "--web.listen-address",
        &address.to_string(),
    ];
    let output = tracer(&args, &[]);
    for line in stderr(&output).lines() {
        assert!(
            line.starts_with("{\"timestamp\":") && line.ends_with('}'),
            "{line}"
        );
    }
}

#[test]
fn scripts_and_manual_pages_are_printed() {
    for (args, part) in [
        (&["completions", "bash"][..], "_tracer()"),
        (&["completions", "zsh"], "#compdef tracer"),
        (&["man"], ".TH tracer 1"),
        (&["man", "run"], "TRACER_NODE_PORTS"),
        (&["man", "explain"], "3 at least one problem"),
        (&["man", "events"], "timed_out"),
    ] {
        let output = tracer(args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            String::from_utf8(output.stdout).unwrap().contains(part),
            "{args:?}"
        );
    }
}
