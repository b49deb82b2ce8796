//! Replays of captures that are written here.

mod broken;
mod encapsulated;
mod same;
#[path = "../../../../tracer-replay/tests/corpus/wrap.rs"]
mod wrap;
#[path = "../../../../tracer-replay/tests/corpus/write.rs"]
mod write;

use std::{collections::HashSet, io::Cursor};

use tracer_common::counters::{Cell, PortCounters};

use tracer_replay::{Capture, Player, Table};

use super::{
    answer::{self, Answer},
    play,
};
use crate::config::{Config, Settings};

/// A player with the default settings, and the addresses as the node's.
fn player(nodes: &[std::net::IpAddr]) -> Player {
    let config = Config::new(Settings::default(), Settings::default()).unwrap();
    let limits = crate::kernel::limits(&config).unwrap();
    let table = Table::new(limits, config.ports.as_slice(), 100);
    let nodes: HashSet<_> = nodes.iter().map(|ip| crate::kernel::addr(*ip)).collect();
    Player::new(table, nodes, Vec::new())
}

/// Plays whole captures one after the other.
fn played(captures: &[&[u8]], nodes: &[std::net::IpAddr]) -> (Player, Answer) {
    let mut player = player(nodes);
    let mut about = Vec::new();
    for bytes in captures {
        match Capture::open(Box::new(Cursor::new(bytes.to_vec()))) {
            Ok(mut capture) => {
                let played = play(&mut capture, &mut player, &|| false);
                about.extend(played.about.into_iter().chain(played.fault));
            }
            Err(why) => about.push(why),
        }
    }
    player.finish();
    let answer = answer::answer(&player, &Default::default(), nodes.is_empty(), about);
    (player, answer)
}

/// The counters of the only port.
fn counters(player: &Player) -> PortCounters {
    let ports = player.table.counters();
    let [(port, counters)] = ports[..] else {
        panic!("{} ports", ports.len());
    };
    assert_eq!(port, write::PORT);
    assert!(counters.balances());
    counters
}

fn attempts(player: &Player) -> u64 {
    counters(player).get(Cell::ATTEMPTS)
}
