//! Developer commands of the project: `cargo xtask VERB`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod artifacts;
mod bench;
mod demo;
mod explain;
mod fuzz;
mod image;
mod kubernetes;
mod libtest;
mod lint;
mod packages;
mod proc;
mod reproduce;
mod setup;
mod soak;
mod test;
mod vm;
mod workspace;

/// Exit status when this machine, kernel or user cannot do it (`EX_UNAVAILABLE` of sysexits.h).
const EXIT_UNAVAILABLE: u8 = 69;

/// Developer commands of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// A small broken cluster in network namespaces, and what tracer says about it.
    Demo(demo::Args),
    /// What tracer costs, beside what is promised.
    Bench(bench::Args),
    /// Mixed traffic for hours: whether the daemon grows, forgets or miscounts.
    Soak(soak::Args),
    /// The fuzz targets, for some time each.
    Fuzz(fuzz::Args),
    /// All tests: lint, unit, namespaces on this kernel, other kernels in virtual machines.
    Test(test::Args),
    /// Format, clippy, and the crates that we build with: licences, sources, advisories.
    Lint(lint::Args),
    /// The static binary, its Debian package and, where an engine works, its container image.
    Image(image::Args),
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    let result = proc::end_children_on_interrupt().and_then(|()| match verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Soak(args) => soak::run(args),
        Verb::Fuzz(args) => fuzz::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Lint(args) => lint::run(args),
        Verb::Image(args) => image::run(args),
    });
    result.unwrap_or_else(|error| {
        if let Some(unavailable) = error.downcast_ref::<setup::Unavailable>() {
            eprintln!("{unavailable}");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
