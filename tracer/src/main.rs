//! `tracer`: counts every TCP handshake at a node's NodePorts.

mod api;
mod build_info;
mod check;
mod cli;
mod config;
mod counted;
mod events;
mod evidence;
mod exit;
mod explain;
mod files;
mod health;
mod hooks;
mod http;
mod human;
mod kernel;
mod logging;
mod metrics;
mod preflight;
mod privileges;
mod recorder;
mod replay;
mod report;
mod run;
mod services;
mod signals;
mod snapshot;
mod top;
mod verdict;
mod wrap;
mod yaml;

use std::{env, io::IsTerminal as _, process::ExitCode, sync::Arc};

use cli::{Command, Common, Invocation};
use config::{Config, LogLevel};
use exit::{Code, Exit};
use snapshot::Source;

fn main() -> ExitCode {
    let invocation = match cli::parse(env::args_os()) {
        Ok(invocation) => Arc::new(invocation),
        Err(e) => return refuse(&e),
    };
    let code = match execute(&invocation) {
        Ok(code) => code,
        Err(exit) => {
            report(&exit, &invocation.cli.command);
            exit.code().into()
        }
    };
    logging::flush();
    code
}

/// Prints why the arguments are refused, or the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell a broken standard error.
    let _ = error.print();
    let code = cli::exit_code(error, env::args_os());
    if code == Code::Config as u8
        && let Some(variable) = cli::variable(error)
    {
        anstream::eprintln!("The value comes from the environment: {variable}.");
    }
    code.into()
}

fn execute(invocation: &Arc<Invocation>) -> Result<ExitCode, Exit> {
    let done = match &invocation.cli.command {
        Command::Run(common) => {
            let again = Arc::clone(invocation);
            let settings = signals::Settings {
                file: common.config.clone(),
                read: Arc::new(move || again.config_of_run()),
            };
            run::run(&invocation.config(common)?, &settings, load)
        }
        Command::Check { common, output } => {
            let config = invocation.config(common)?;
            preflight::settings(&config)?;
            let checked = kernel::check(&config);
            cli::print(check::render(&checked, *output)?.as_bytes())?;
            // In the words of `tracer run`, where that is why.
            kernel::privileged()?;
            check::verdict(&checked.hooks)
        }
        Command::Explain(args) => {
            let config = watching(invocation, &args.common)?;
            return explain::run(args, &config, load).map(ExitCode::from);
        }
        Command::Events(args) => {
            let config = watching(invocation, &args.common)?;
            events::run(args, &config, load)
        }
        Command::Top(args) => {
            // A line of the log would be in the middle of the screen.
            let config = if top::draws(args) && std::io::stderr().is_terminal() {
                invocation.config(&args.common)?
            } else {
                watching(invocation, &args.common)?
            };
            top::run(args, &config, load)
        }
        Command::Replay(args) => {
            let config = watching(invocation, &args.common)?;
            return replay::run(args, &config).map(ExitCode::from);
        }
        Command::Health(args) => health::run(args, &invocation.config(&args.common)?),
        Command::Completions { shell } => cli::print_completions(*shell),
        Command::Man { command } => cli::print_man(command.as_deref()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The configuration of a command that prints for people: its log is for what
/// goes wrong, unless a level is asked for.
fn watching(invocation: &Invocation, common: &Common) -> Result<Config, Exit> {
    let config = invocation.config(common)?;
    let level = if invocation.is_given("level") {
        config.log_level
    } else {
        LogLevel::Warn
    };
    logging::start(level, config.log_format)?;
    Ok(config)
}

/// Loads and attaches the kernel side.
fn load(config: &Config) -> Result<Arc<dyn Source>, Exit> {
    Ok(Arc::new(kernel::Tracer::load(config)?))
}

/// The daemon's last word has the form of its log once there is one.
fn report(exit: &Exit, command: &Command) {
    if matches!(command, Command::Run(_)) && tracing::dispatcher::has_been_set() {
        tracing::error!("{exit}");
    } else {
        anstream::eprintln!("tracer: {exit}");
    }
}
