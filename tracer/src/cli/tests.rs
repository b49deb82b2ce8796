//! Tests of the command line.

use std::time::Duration;

use tracer_common::failure::Failure;

use super::*;
use crate::recorder::LONGEST;

fn parse_words(line: &str) -> Result<Invocation, clap::Error> {
    parse(line.split(' ').map(OsString::from))
}

fn config(line: &str) -> Result<Config, Exit> {
    let invocation = parse_words(line).unwrap();
    match &invocation.cli.command {
        Command::Run(common)
        | Command::Check { common, .. }
        | Command::Explain(Explain { common, .. })
        | Command::Events(Events { common, .. })
        | Command::Replay(Replay { common, .. }) => invocation.config(common),
        other => panic!("{other:?}"),
    }
}

#[test]
fn definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn flags_become_a_configuration() {
    let config = config(
        "tracer run --interface eth0 --interface ens5 --node-ports 30080 \
         --probe-source 10.0.0.0/8 --probe-source fd00::/8 --probe-method ping \
         --web.listen-address :0 --web.telemetry-path /m --log.format json --flows 64",
    )
    .unwrap();
    assert_eq!(config.interfaces, ["eth0", "ens5"]);
    assert_eq!(config.ports.as_slice(), [30080]);
    assert_eq!(config.probe_sources.len(), 2);
    assert_eq!(config.listen.to_string(), "0.0.0.0:0");
    assert_eq!(config.telemetry_path, "/m");
    assert_eq!(config.flows, 64);
}

#[test]
fn a_contradiction_by_flags_is_wrong_usage() {
    let exit = config("tracer check --idle-after 20m --expire-after 10s").unwrap_err();
    assert_eq!(exit.code(), Code::Usage);
}

#[test]
fn bad_flags_are_wrong_usage() {
    for line in [
        "tracer run --nonsense",
        "tracer run --node-ports 0",
        "tracer run --probe-method two;words",
        "tracer run --handshake-timeout 1h",
        "tracer check -o yaml",
        "tracer completions tcsh",
        "tracer top -d 0.1",
        "tracer top -d soon",
        "tracer top -n 0",
        "tracer top --sort colour",
        "tracer top --last 16m",
        "tracer explain --last 0s",
        "tracer explain --last 16m",
        "tracer explain --last soon",
        "tracer explain --port 0",
        "tracer explain --port 65536",
        "tracer explain -o yaml",
        "tracer events --outcome rejected",
        "tracer events --outcome refused,",
    ] {
        let error = parse_words(line).unwrap_err();
        assert_eq!(
            exit_code(&error, line.split(' ').map(OsString::from)),
            2,
            "{line}"
        );
    }
}

#[test]
fn explain_looks_back_a_minute_at_all_ports_unless_told() {
    let explain = |line: &str| match parse_words(line).unwrap().cli.command {
        Command::Explain(args) => args,
        other => panic!("{other:?}"),
    };
    let plain = explain("tracer explain");
    assert_eq!(plain.last, Duration::from_secs(60));
    assert_eq!((plain.ports, plain.output), (vec![], Output::Text));
    let told = explain("tracer explain --last 1m30s --port 30102 --port 30103,30104 -o json");
    assert_eq!(told.last, Duration::from_secs(90));
    assert_eq!(told.ports, [30102, 30103, 30104]);
    assert_eq!(told.output, Output::Json);
}

#[test]
fn events_take_every_failure_by_its_word() {
    let words: Vec<&str> = Failure::ALL.iter().map(|f| f.as_str()).collect();
    let line = format!("tracer events -f --outcome {}", words.join(","));
    match parse_words(&line).unwrap().cli.command {
        Command::Events(args) => {
            assert_eq!(args.outcomes, Failure::ALL);
            assert!(args.follow);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_outcome_names_the_known_ones() {
    let error = parse_words("tracer events --outcome rejected").unwrap_err();
    let text = error.to_string();
    for failure in Failure::ALL {
        assert!(text.contains(failure.as_str()), "{text}");
    }
}

#[test]
fn help_names_the_longest_window() {
    let longest = format!("1s to {}", humantime::format_duration(LONGEST));
    let mut root = Cli::command();
    let explain = root.find_subcommand_mut("explain").unwrap();
    let help = explain.render_long_help().to_string();
    assert!(help.contains(&longest), "{longest}: {help}");
}

#[test]
fn what_was_given_is_known() {
    let invocation = parse_words("tracer explain --log.level debug").unwrap();
    assert!(invocation.is_given("level"));
    assert!(!invocation.is_given("last") && !invocation.is_given("format"));
}

#[test]
fn every_command_has_examples() {
    for command in Cli::command().get_subcommands() {
        let text = command.get_after_long_help().map(ToString::to_string);
        assert!(text.is_some_and(|t| t.contains("Examples:")), "{command}");
    }
}

#[test]
fn help_names_the_defaults() {
    let mut root = Cli::command();
    let run = root.find_subcommand_mut("run").unwrap();
    let help = run.render_long_help().to_string();
    let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for default in [
        "30000-32767",
        "5s",
        "1h",
        "46080",
        "0.0.0.0:9400",
        "/metrics",
        "auto",
    ] {
        assert!(
            flat.contains(&format!("[default: {default}]")),
            "{default}: {help}"
        );
    }
}

#[test]
fn there_is_a_manual_page_for_every_command_and_no_other() {
    assert_eq!(print_man(Some("no-such")).unwrap_err().code(), Code::Usage);
}

#[test]
fn flags_that_are_nearly_right_are_known() {
    for (line, near) in [
        ("tracer run --probe-sources 10.0.0.0/8", "--probe-source"),
        ("tracer check --node-port 30080", "--node-ports"),
        ("tracer run --web.listen-adress :0", "--web.listen-address"),
        ("tracer run --log-level debug", "--log.level"),
        ("tracer rum", "'run'"),
        ("tracer run --log.level loud", "possible values"),
        ("tracer run --kubernetes onn", "'on'"),
    ] {
        let error = parse_words(line).unwrap_err().to_string();
        assert!(error.contains(near), "{line}: {error}");
    }
}

#[test]
fn settings_are_read_again_by_the_daemon_alone() {
    let run = parse_words("tracer run --flows 64").unwrap();
    assert_eq!(run.config_of_run().unwrap().flows, 64);
    assert!(
        parse_words("tracer health")
            .unwrap()
            .config_of_run()
            .is_err()
    );
}
