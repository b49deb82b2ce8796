//! What `deploy/` holds, checked by the tools that will read it: promtool, Helm,
//! Kubernetes' and Grafana's schemas, dpkg, systemd; and what the binary is made of.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::peers::thrift;

mod chart;
mod container;
mod crates;
mod dashboards;
mod package;
mod rules;
mod settings;
mod subchart;

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).join(path)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository(path)).with_context(|| path.to_owned())
}

/// A YAML document.
fn yaml(text: &str) -> Result<Value> {
    Ok(serde_saphyr::from_str(text)?)
}

/// The documents of a YAML stream.
fn documents(text: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(all
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// A program of a package, to be run in a directory of the repository.
fn tool(program: impl AsRef<std::ffi::OsStr>, directory: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repository(directory));
    command
}

/// A program of the Python environment.
fn python_tool(name: &str, directory: &str) -> Result<Command> {
    let program = thrift::python()?.with_file_name(name);
    anyhow::ensure!(
        program.exists(),
        "no {}: cargo xtask test installs it",
        program.display()
    );
    Ok(tool(program, directory))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
