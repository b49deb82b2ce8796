//! Reading the rule sets of the calling thread's network namespace. No program is
//! run, nothing is asked for that would make the kernel load or create anything.

mod nftables;
mod ways;

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path, time::Instant};

use nix::errno::Errno;

use self::ways::Sources;
use super::{
    Syn,
    legacy::{self, Block},
    nft::Builder,
    table::Tables,
};
use crate::{
    evidence::{Absent, InterfaceName, links, netlink::Failed},
    kernel::xtables,
};

/// Rules of all tools that are read, in all.
const RULES: usize = 32_768;
/// Entries of iptables-legacy's tables: a chain takes two more than its rules.
const ENTRIES: usize = 3 * RULES;
/// Bytes of one table of iptables-legacy, and of all of which chains are still to be read.
const BLOB: u32 = 16 << 20;
/// Entries of a table of iptables-legacy that is read as a whole.
const FEW: u32 = 4096;
const SOURCE: &str = "rule sets of the node";

/// What was read, and addresses of the node.
#[derive(Debug, Default)]
pub struct Read {
    pub tables: Tables,
    pub own: Option<Vec<IpAddr>>,
    /// Interfaces at which rules meet what was seen to come in there; others may be part
    /// of another, or be gone.
    pub alone: BTreeSet<InterfaceName>,
    /// Something is missing.
    pub gaps: bool,
    /// Nothing could be read at all.
    pub nothing: bool,
}

impl Read {
    /// A SYN as the rules meet it.
    pub fn as_met(&self, syn: &Syn) -> Syn {
        as_met(syn, &self.alone)
    }
}

fn as_met(syn: &Syn, alone: &BTreeSet<InterfaceName>) -> Syn {
    Syn {
        interface: syn.interface.filter(|name| alone.contains(name)),
        ..syn.clone()
    }
}

/// Reads them; of long ones what the ways of these SYNs take.
pub fn read(syns: &[Syn], deadline: Instant, absent: &mut Vec<Absent>) -> Read {
    let mut troubles = Vec::new();
    let mut tables = Tables::default();
    let mut blocks = Vec::new();
    for v6 in [false, true] {
        if let Err(why) = read_legacy(&mut tables, v6, deadline, &mut blocks, &mut troubles) {
            troubles.push(why);
        }
    }
    let own = links::own(deadline).ok();
    let alone = match syns.iter().any(|syn| syn.interface.is_some()) {
        true => links::alone(deadline).unwrap_or_default(),
        false => BTreeSet::new(),
    };
    let syns: Vec<Syn> = syns.iter().map(|syn| as_met(syn, &alone)).collect();
    let mut builder = Builder::after(tables);
    let socket = nftables::begin(&mut builder, deadline, &mut troubles);
    let socket = socket.unwrap_or_else(|why| {
        troubles.extend(told("nftables", why));
        None
    });
    let tool = if socket.is_some() {
        "nftables"
    } else {
        "iptables-legacy"
    };
    let blocks = &blocks;
    let mut sources = Sources { blocks, socket };
    let followed = sources.follow(&mut builder, &syns, own.as_deref(), deadline, &mut troubles);
    troubles.extend(followed.err().and_then(|why| told(tool, why)));
    let tables = builder.tables;
    let gaps = !troubles.is_empty();
    if gaps {
        troubles.dedup();
        absent.push(Absent::new(SOURCE, troubles.join("; ")));
    }
    Read {
        nothing: gaps && tables.chains.is_empty(),
        tables,
        own,
        alone,
        gaps,
    }
}

/// What is missing; `None`: nothing, this kernel does not have it.
fn told(tool: &str, failed: Failed) -> Option<String> {
    match failed {
        Failed::Kernel(Errno::EOPNOTSUPP | Errno::EINVAL) => None,
        Failed::Kernel(Errno::EPERM) => Some(format!(
            "{tool}: not permitted: reading needs CAP_NET_ADMIN"
        )),
        failed => Some(format!("{tool}: {failed}")),
    }
}

/// Only tables that the kernel lists: asking for another would make it.
fn read_legacy(
    tables: &mut Tables,
    v6: bool,
    deadline: Instant,
    blocks: &mut Vec<Block>,
    troubles: &mut Vec<String>,
) -> Result<(), String> {
    let (file, tool) = if v6 {
        ("ip6_tables_names", "ip6tables-legacy")
    } else {
        ("ip_tables_names", "iptables-legacy")
    };
    let names = match fs::read_to_string(Path::new("/proc/thread-self/net").join(file)) {
        Ok(names) => names,
        // The module is not loaded: there are no such rules.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(format!("{tool}: read /proc/net/{file}: {e}")),
    };
    for name in names.lines().filter(|name| !name.is_empty()) {
        if Instant::now() >= deadline {
            return Err(format!("{tool}: cut short: its time was over"));
        }
        let read = read_table(tables, v6, name, blocks);
        match read {
            Ok(true) => {}
            Ok(false) => {
                troubles.push(format!("{tool}, table {name}: not all of it is understood"));
            }
            Err(why) => troubles.push(format!("{tool}, table {name}: {why}")),
        }
    }
    Ok(())
}

/// Adds a table; to `blocks` if chains of it are still to be read. Returns whether all of
/// it is understood.
fn read_table(
    tables: &mut Tables,
    v6: bool,
    name: &str,
    blocks: &mut Vec<Block>,
) -> Result<bool, String> {
    let told = |errno: Errno| match errno {
        Errno::EPERM => "not permitted: reading it needs CAP_NET_ADMIN".to_owned(),
        errno => format!("{} ({errno:?})", errno.desc()),
    };
    // The table may be replaced in between.
    for _ in 0..2 {
        let info = xtables::info(v6, name).map_err(told)?;
        let Some(info) = legacy::Info::parse(&info) else {
            return Err("the kernel's answer is too short".into());
        };
        if info.size > BLOB || info.count as usize > ENTRIES.saturating_sub(count(tables)) {
            return Err(format!("not read: it has {} entries", info.count));
        }
        match xtables::entries(v6, name, info.size) {
            Ok(blob) => {
                let (block, whole) = legacy::add(tables, v6, name, &info, (blob, xtables::HEAD));
                let held: usize = blocks.iter().map(Block::bytes).sum();
                if info.count <= FEW || held + block.bytes() > BLOB as usize {
                    block.read_all(tables);
                } else if !block.read_first(tables) {
                    blocks.push(block);
                }
                return Ok(whole);
            }
            Err(Errno::EAGAIN | Errno::EINVAL) => {}
            Err(errno) => return Err(told(errno)),
        }
    }
    Err("it changes while it is read".into())
}

fn count(tables: &Tables) -> usize {
    tables.chains.iter().map(|chain| chain.rules.len()).sum()
}
