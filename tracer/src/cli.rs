//! The command line.

use std::{ffi::OsString, io::Write as _, path::PathBuf};

use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::Resettable,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use clap_complete::Shell;

use crate::{
    build_info,
    config::{self, Config, Settings},
    exit::{Code, Exit},
};

const EXAMPLES: &str = "\
Examples:
  tracer check                     what this kernel and these privileges allow
  tracer run                       watch 30000-32767, serve on port 9400
  tracer run --help                all settings

Exit codes: 0 done, 1 failed while running, 2 wrong usage, 69 this kernel or
these privileges cannot do it, 78 wrong configuration";

const RUN_EXAMPLES: &str = "\
Examples:
  tracer run
  tracer run --interface ens5 --node-ports 30080,30100-30200
  tracer run --probe-source 10.0.0.0/24 --probe-source fd00:1::/64 --probe-method ping
  TRACER_LOG_LEVEL=debug tracer run --config /etc/tracer/tracer.yaml

Flags win over the environment, the environment over the file. A file has the
long flags as keys, with _ for -; lists in the environment are separated by
commas:
  node_ports: 30000-32767
  probe_source: [10.0.0.0/24]
  web:
    listen_address: 127.0.0.1:9400";

const CHECK_EXAMPLES: &str = "\
Examples:
  tracer check
  tracer check -o json
  tracer check --config /etc/tracer/tracer.yaml --wire-tap tcx

Exit codes: 0 all required hooks can be attached, 69 one cannot, 78 wrong
configuration";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tracer completions bash > /etc/bash_completion.d/tracer
  tracer completions zsh > /usr/local/share/zsh/site-functions/_tracer";

const MAN_EXAMPLES: &str = "\
Examples:
  tracer man | man -l -
  tracer man run > /usr/local/share/man/man1/tracer-run.1";

/// Says for every TCP handshake at this node's NodePorts how it ended, who
/// answered and what it was for
#[derive(Debug, Parser)]
#[command(name = "tracer", version = build_info::version_line(), after_long_help = EXAMPLES)]
#[command(max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: count handshakes and serve metrics
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Common),
    /// Show which hooks this kernel and these privileges allow
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check {
        /// Settings to check with.
        #[command(flatten)]
        common: Common,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the completion script of a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, in roff
    #[command(after_long_help = MAN_EXAMPLES)]
    Man {
        /// The command it is about [default: tracer itself]
        command: Option<String>,
    },
}

/// Arguments of the commands that load programs.
#[derive(Debug, Args)]
pub struct Common {
    /// YAML file with settings
    #[arg(long, value_name = "FILE", env = "TRACER_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// Parsed arguments, with where each came from.
#[derive(Debug)]
pub struct Invocation {
    /// The arguments.
    pub cli: Cli,
    matches: ArgMatches,
}

/// Parses arguments and environment.
///
/// # Errors
/// clap's, which prints itself; also for `--help` and `--version`. Its exit
/// code is [`exit_code`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = Cli::command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok(Invocation { cli, matches })
}

/// The exit code for an error of [`parse`] with these arguments: a wrong value
/// in the environment is wrong configuration, not wrong usage.
pub fn exit_code(error: &clap::Error, args: impl IntoIterator<Item = OsString>) -> u8 {
    if error.exit_code() == 0 {
        return 0;
    }
    let blind = |command: clap::Command| command.mut_args(|arg| arg.env(Resettable::Reset));
    let command = Cli::command().mut_subcommands(blind);
    match command.try_get_matches_from(args) {
        Ok(_) => Code::Config as u8,
        Err(_) => Code::Usage as u8,
    }
}

/// The environment variable whose value an error of [`parse`] is about, should
/// it be about a value at all.
pub fn variable(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let mut command = Cli::command();
    // Arguments have no text before.
    command.build();
    let mut all = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments);
    let found = all.find(|known| known.to_string() == *argument)?;
    Some(found.get_env()?.to_string_lossy().into_owned())
}

impl Invocation {
    /// The configuration from all layers.
    ///
    /// # Errors
    /// [`Code::Usage`] for a contradiction that a flag caused, otherwise
    /// [`Code::Config`].
    pub fn config(&self, common: &Common) -> Result<Config, Exit> {
        let file = match &common.config {
            Some(path) => config::read(path)?,
            None => Settings::default(),
        };
        Config::new(common.settings.clone(), file).map_err(|invalid| {
            let by_flag = invalid.settings.iter().any(|id| self.is_flag(id));
            let code = if by_flag { Code::Usage } else { Code::Config };
            Exit::new(code, "settings", invalid.cause).remedy("see tracer run --help")
        })
    }

    fn is_flag(&self, id: &str) -> bool {
        let matches = self.matches.subcommand().map(|(_, matches)| matches);
        matches.and_then(|m| m.value_source(id)) == Some(ValueSource::CommandLine)
    }
}

/// Prints the completion script of a shell to standard output.
///
/// # Errors
/// When standard output cannot be written, other than closed early.
pub fn print_completions(shell: Shell) -> Result<(), Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut script);
    print(&script)
}

/// Prints the manual page of a command, or of `tracer` itself.
///
/// # Errors
/// [`Code::Usage`] when there is no such command; when standard output cannot
/// be written, other than closed early.
pub fn print_man(command: Option<&str>) -> Result<(), Exit> {
    let mut root = Cli::command();
    root.build();
    let about = match command {
        None => root,
        Some(name) => root
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Exit::new(Code::Usage, "manual page", format!("no command `{name}`")))?,
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(about).render(&mut page);
    rendered.map_err(|e| Exit::runtime("manual page", e))?;
    print(&page)
}

/// Writes to standard output; a reader that has seen enough is no failure.
///
/// # Errors
/// When writing fails otherwise.
pub fn print(bytes: &[u8]) -> Result<(), Exit> {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Exit::runtime("write to standard output", e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    fn config(line: &str) -> Result<Config, Exit> {
        let invocation = parse_words(line).unwrap();
        match &invocation.cli.command {
            Command::Run(common) | Command::Check { common, .. } => invocation.config(common),
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
            "tracer top",
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
            "65536",
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
}
