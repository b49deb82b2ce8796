//! The command line.

mod args;
mod examples;
mod print;

use std::ffi::OsString;

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::Resettable,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use clap_complete::Shell;

use crate::{
    build_info,
    config::{self, Config, Settings},
    exit::{Code, Exit},
    explain,
};

pub use args::{Common, Events, Explain, Health, Output, Replay, Top};
use examples::{
    CHECK_EXAMPLES, COMPLETIONS_EXAMPLES, EVENTS_EXAMPLES, EXAMPLES, EXPLAIN_EXAMPLES,
    HEALTH_EXAMPLES, MAN_EXAMPLES, REPLAY_EXAMPLES, RUN_EXAMPLES, TOP_EXAMPLES,
};
pub use print::{abandoned, print, print_completions, print_man};

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
    /// Show what happens now, port by port, on the terminal
    #[command(after_long_help = TOP_EXAMPLES)]
    Top(Top),
    /// Say which ports fail, why, and what to do about it
    #[command(after_long_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// List failures one by one, or follow them as they happen
    #[command(after_long_help = EVENTS_EXAMPLES)]
    Events(Events),
    /// Say the same from captures (pcap, pcapng), without privileges
    #[command(after_long_help = REPLAY_EXAMPLES)]
    Replay(Replay),
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
    /// Say whether the daemon of this node is ready, for probes
    #[command(after_long_help = HEALTH_EXAMPLES)]
    Health(Health),
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
    /// The configuration from all layers. If it names the node, all output does from
    /// then on.
    ///
    /// # Errors
    /// [`Code::Usage`] for a contradiction that a flag caused, otherwise
    /// [`Code::Config`].
    pub fn config(&self, common: &Common) -> Result<Config, Exit> {
        let file = match &common.config {
            Some(path) => config::read(path)?,
            None => Settings::default(),
        };
        let config = Config::new(common.settings.clone(), file).map_err(|invalid| {
            let by_flag = invalid.settings.iter().any(|id| self.is_flag(id));
            let code = if by_flag { Code::Usage } else { Code::Config };
            Exit::new(code, "settings", invalid.cause).remedy("see tracer run --help")
        })?;
        if let Some(name) = &config.node_name {
            explain::call_node(name.clone());
        }
        Ok(config)
    }

    /// The configuration of `tracer run`, read again.
    ///
    /// # Errors
    /// As of [`Invocation::config`].
    pub fn config_of_run(&self) -> Result<Config, Exit> {
        match &self.cli.command {
            Command::Run(common) => self.config(common),
            _ => Err(Exit::runtime("read the settings", "this is no daemon")),
        }
    }

    /// Whether an argument of this name was given, by flag or environment.
    #[must_use]
    pub fn is_given(&self, id: &str) -> bool {
        let source = self.source(id);
        source.is_some_and(|source| source != ValueSource::DefaultValue)
    }

    fn is_flag(&self, id: &str) -> bool {
        self.source(id) == Some(ValueSource::CommandLine)
    }

    fn source(&self, id: &str) -> Option<ValueSource> {
        self.matches.subcommand()?.1.value_source(id)
    }
}

#[cfg(test)]
mod tests;
