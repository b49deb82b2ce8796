//! `tracer`: counts every TCP handshake at a node's NodePorts.

mod build_info;
mod check;
mod cli;
mod config;
mod evidence;
mod exit;
mod hooks;
mod http;
mod kernel;
mod logging;
mod recorder;
mod metrics;
mod report;
mod run;
mod snapshot;
mod verdict;

use std::{env, process::ExitCode, sync::Arc};

use cli::{Command, Invocation};
use config::Config;
use exit::{Code, Exit};
use snapshot::Source;

fn main() -> ExitCode {
    let invocation = match cli::parse(env::args_os()) {
        Ok(invocation) => invocation,
        Err(e) => return refuse(&e),
    };
    match execute(&invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            report(&exit);
            exit.code().into()
        }
    }
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

fn execute(invocation: &Invocation) -> Result<(), Exit> {
    match &invocation.cli.command {
        Command::Run(common) => run::run(&invocation.config(common)?, load),
        Command::Check { common, output } => {
            let config = invocation.config(common)?;
            let hooks = kernel::check(&config);
            cli::print(check::render(&hooks, *output).as_bytes())?;
            check::verdict(&hooks)
        }
        Command::Completions { shell } => cli::print_completions(*shell),
        Command::Man { command } => cli::print_man(command.as_deref()),
    }
}

/// Loads and attaches the kernel side.
fn load(config: &Config) -> Result<Arc<dyn Source>, Exit> {
    Ok(Arc::new(kernel::Tracer::load(config)?))
}

/// To the log once there is one, so that it keeps its form.
fn report(exit: &Exit) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{exit}");
    } else {
        anstream::eprintln!("tracer: {exit}");
    }
}
