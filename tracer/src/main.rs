//! `tracer`: counts every TCP handshake at a node's NodePorts.

mod build_info;
mod check;
mod cli;
mod config;
mod exit;
mod http;
mod logging;
mod metrics;
mod run;
mod snapshot;

use std::{env, process::ExitCode, sync::Arc};

use cli::{Command, Invocation};
use config::Config;
use exit::Exit;
use snapshot::{HookStatus, Source};

fn main() -> ExitCode {
    let invocation = match cli::parse(env::args_os()) {
        Ok(invocation) => invocation,
        Err(e) => {
            // Nothing is left to tell a broken standard error.
            let _ = e.print();
            return cli::exit_code(&e, env::args_os()).into();
        }
    };
    match execute(&invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            report(&exit);
            exit.code().into()
        }
    }
}

fn execute(invocation: &Invocation) -> Result<(), Exit> {
    match &invocation.cli.command {
        Command::Run(common) => run::run(&invocation.config(common)?, load),
        Command::Check { common, output } => {
            let config = invocation.config(common)?;
            let hooks = hooks(&config);
            cli::print(check::render(&hooks, *output).as_bytes())?;
            check::verdict(&hooks)
        }
        Command::Completions { shell } => cli::print_completions(*shell),
        Command::Man { command } => cli::print_man(command.as_deref()),
    }
}

/// Loads and attaches the kernel side.
fn load(_config: &Config) -> Result<Arc<dyn Source>, Exit> {
    Err(Exit::unavailable(
        "load the kernel programs",
        "this build has none",
    ))
}

/// What this kernel and these privileges allow.
fn hooks(_config: &Config) -> Vec<HookStatus> {
    Vec::new()
}

/// To the log once there is one, so that it keeps its form.
fn report(exit: &Exit) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{exit}");
    } else {
        anstream::eprintln!("tracer: {exit}");
    }
}
