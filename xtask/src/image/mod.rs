//! `cargo xtask image`: the static binary, the Debian package, and the container image where an
//! engine is there to build it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::setup::{self, Needs};
use crate::{artifacts, proc, workspace};

mod bill;
mod deb;
mod tree;

pub(crate) use bill::bill;
pub(crate) use deb::package;

/// Limit of one step.
const LIMIT: Duration = Duration::from_secs(600);
/// Engines that build images, the preferred one first.
const ENGINES: [&str; 3] = ["docker", "podman", "buildah"];
/// The version that everything built here carries.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Options of `image`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name and tag of the image [default: tracer:VERSION]
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// What builds the image [default: the first of docker, podman, buildah that works]
    #[arg(long, value_name = "PROGRAM", value_parser = ENGINES)]
    engine: Option<String>,
    /// Package this static binary instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// Builds all and says where it is.
///
/// # Errors
/// A build fails, or the engine that was asked for does not work.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let binary = match args.binary {
        Some(path) => path,
        None => {
            setup::ensure(&Needs {
                bpf: true,
                musl: true,
                ..Needs::default()
            })?;
            artifacts::tracer()?
        }
    };
    println!("binary   {}", binary.display());
    println!("package  {}", package(&binary)?.display());
    println!("bill     {}", bill()?.display());
    let context = context(&binary)?;
    let tag = args.tag.unwrap_or_else(|| format!("tracer:{VERSION}"));
    let engine = match &args.engine {
        Some(engine) if works(engine) => engine,
        Some(engine) => bail!("{engine} does not work here: `{engine} info` says why"),
        None => match ENGINES.into_iter().find(|engine| works(engine)) {
            Some(engine) => engine,
            None => {
                let dir = context.display();
                println!(
                    "image    not built: none of {} works here",
                    ENGINES.join(", ")
                );
                println!(
                    "         where one does: docker build -f deploy/Dockerfile -t {tag} {dir}"
                );
                return Ok(ExitCode::SUCCESS);
            }
        },
    };
    let id = build(engine, &context, &tag)?;
    println!("image    {tag} ({engine}, {id})");
    Ok(ExitCode::SUCCESS)
}

/// Whether this engine can build: docker without its daemon cannot.
fn works(engine: &str) -> bool {
    workspace::find_command(engine).is_some()
        && proc::output(workspace::command(engine).arg("info")).is_ok()
}

/// A directory with what the Dockerfile copies.
fn context(binary: &Path) -> Result<PathBuf> {
    let dir = tree::fresh("image")?;
    tree::copy(binary, &dir.join("tracer"), 0o755)?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        tree::copy(&workspace::root().join(licence), &dir.join(licence), 0o644)?;
    }
    Ok(dir)
}

/// Builds the image and returns its id.
fn build(engine: &str, context: &Path, tag: &str) -> Result<String> {
    let mut command = workspace::command(engine);
    command.args(["build", "-q", "-f", "deploy/Dockerfile", "-t", tag]);
    for (name, value) in [
        ("VERSION", VERSION.to_owned()),
        ("REVISION", git(&["rev-parse", "HEAD"])?),
        ("CREATED", git(&["log", "-1", "--format=%cI"])?),
    ] {
        command.arg("--build-arg").arg(format!("{name}={value}"));
    }
    let done = proc::must(
        "container image",
        {
            command.arg(context);
            command
        },
        LIMIT,
    )?;
    let output = done.output()?;
    let id = output.lines().last().context("no id of the image")?.trim();
    ensure!(
        !id.is_empty(),
        "no id of the image; see {}",
        done.log.display()
    );
    Ok(id.to_owned())
}

/// What git prints: a build from the same commit is the same.
fn git(args: &[&str]) -> Result<String> {
    let mut git: Command = workspace::command("git");
    Ok(proc::output(git.args(args))?.trim().to_owned())
}
