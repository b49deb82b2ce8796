//! `tracer replay`: the daemon's numbers and what `tracer explain` can say,
//! from captures. The machine is the kernel programs' own.

mod answer;
mod conclusion;
mod document;
mod input;
mod interrupt;
#[cfg(test)]
mod tests;
mod text;
mod unread;
mod warnings;

use std::{collections::BTreeMap, path::Path};

use tracer_replay::{Capture, End, Next, Player, Table};

use crate::{
    cli::{self, Output, Replay},
    config::Config,
    exit::Exit,
    explain::{self, Ended},
    kernel,
    metrics::{self, Format, Process},
    services::{self, Services},
};
use answer::answer;
use interrupt::Interrupt;

/// Reads the captures and prints what they show.
///
/// # Errors
/// When a file is no capture or cannot be read.
pub fn run(args: &Replay, config: &Config) -> Result<Ended, Exit> {
    let interrupt = Interrupt::handle()?;
    let names = Services::once(config)?;
    let mut player = player(args, config, &names)?;
    let mut about = Vec::new();
    for path in &args.files {
        if interrupt.came() {
            about.push("Ctrl-C: not all of the files was read".to_owned());
            break;
        }
        about.extend(read(path, &mut player, &interrupt)?);
    }
    player.finish();
    let answer = answer(&player, &names, args.node_addresses.is_empty(), about);
    let out = if args.openmetrics {
        for warning in &answer.warnings {
            anstream::eprintln!("tracer: {}", crate::human::printable(warning));
        }
        metrics::render(
            answer::scrape(&player, &names),
            Process::default(),
            Format::OpenMetrics,
        )
        .map_err(|e| Exit::runtime("write metrics", e))?
    } else if args.output == Output::Json {
        document::json(&answer)?
    } else {
        text::render(&answer, args.files.len(), args.all)
    };
    cli::print(out.as_bytes())?;
    if let Some(why) = &answer.inconclusive {
        let what = match &args.files[..] {
            [file] => named(file),
            files => format!("{} files", files.len()),
        };
        return Err(Exit::runtime(format!("analyse {what}"), why));
    }
    Ok(explain::ended(&answer.explanation))
}

fn player(args: &Replay, config: &Config, names: &services::Table) -> Result<Player, Exit> {
    let limits = kernel::limits(config).map_err(|e| Exit::config("settings", format!("{e:#}")))?;
    let table = Table::new(limits, config.ports.as_slice(), args.failures);
    let nodes = args.node_addresses.iter().map(|ip| kernel::addr(*ip));
    let mut player = Player::new(table, nodes.collect(), config.probe_sources.clone());
    player.unchecked = names.unchecked().into_iter().collect();
    Ok(player)
}

/// Plays one file to its end; returns what was wrong with it.
fn read(path: &Path, player: &mut Player, interrupt: &Interrupt) -> Result<Vec<String>, Exit> {
    let piped = path == Path::new("-");
    let name = named(path);
    let refused = |cause: String| {
        Exit::runtime(format!("read {name}"), cause)
            .remedy("give files that tcpdump, dumpcap or tshark wrote")
    };
    let reader = input::open(path).map_err(|e| Exit::runtime(format!("read {name}"), e))?;
    let mut capture = Capture::open(reader).map_err(refused)?;
    // Ctrl-C ends a capturing tcpdump as well, whose last packets are read.
    let stop = || interrupt.came() && !piped;
    let before = player.seen.packets;
    let played = play(&mut capture, player, &stop);
    if player.seen.packets == before
        && let Some(why) = played.fault
    {
        return Err(refused(format!("no packet can be read, it is {why}")));
    }
    let about = played.about.into_iter().chain(played.fault);
    Ok(about.map(|what| format!("{name}: {what}")).collect())
}

fn named(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// What was wrong with a capture.
#[derive(Debug, Default)]
struct Played {
    about: Vec<String>,
    /// Why it ended before its end.
    fault: Option<String>,
}

/// Plays a capture.
fn play(capture: &mut Capture, player: &mut Player, stop: &dyn Fn() -> bool) -> Played {
    let mut about = Vec::new();
    let mut skipped: BTreeMap<&'static str, u64> = BTreeMap::new();
    let end = loop {
        match capture.read() {
            Next::Packet(record) => player.play(&record),
            Next::Skipped("") => {}
            Next::Skipped(why) => *skipped.entry(why).or_default() += 1,
            Next::End(end) => break end,
        }
        if stop() {
            about.push(format!(
                "Ctrl-C: not read any further than byte {}",
                capture.position()
            ));
            break End::Whole;
        }
    };
    about.extend(
        skipped
            .into_iter()
            .map(|(why, count)| format!("{why} ({})", crate::human::counted(count, "time"))),
    );
    let at = capture.position();
    let fault = match (end, capture.take_error()) {
        (_, Some(e)) => Some(format!("not readable any further than byte {at}: {e}")),
        (End::Whole, None) => None,
        (End::Cut, None) => Some(format!("cut short within a record after byte {at}")),
        (End::Broken(why), None) => Some(format!(
            "broken at byte {at}, nothing after it is read: {why}"
        )),
    };
    Played { about, fault }
}
