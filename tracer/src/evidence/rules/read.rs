//! Reading the rule sets of the calling thread's network namespace. No program is
//! run, nothing is asked for that would make the kernel load or create anything.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::Path,
    sync::OnceLock,
    time::Instant,
};

use nix::{errno::Errno, sys::socket::SockProtocol};

use super::{
    Syn, legacy,
    nft::{self, Builder, NFGENMSG},
    table::Tables,
    walk::Walk,
};
use crate::{
    evidence::{
        Absent, links,
        netlink::{Failed, Request, Socket},
    },
    kernel::xtables,
};

/// Rules of all tools that are read, in all.
const RULES: usize = 32_768;
/// Bytes of one table of iptables-legacy.
const BLOB: u32 = 16 << 20;
/// Sets asked for their elements, and elements kept.
const SETS: usize = 64;
const ELEMENTS: usize = 32_768;
/// Rounds of looking which sets it takes.
const ROUNDS: usize = 4;
const SOURCE: &str = "rule sets of the node";

/// What was read, and addresses of the node.
#[derive(Debug, Default)]
pub struct Read {
    pub tables: Tables,
    pub own: Option<Vec<std::net::IpAddr>>,
    /// Something is missing.
    pub gaps: bool,
    /// Nothing could be read at all.
    pub nothing: bool,
}

/// Reads them, and of sets what the ways of these SYNs take.
pub fn read(syns: &[Syn], deadline: Instant, absent: &mut Vec<Absent>) -> Read {
    let mut troubles = Vec::new();
    let mut tables = Tables::default();
    let mut failed = 0;
    for v6 in [false, true] {
        if let Err(why) = read_legacy(&mut tables, v6, deadline, &mut troubles) {
            failed += 1;
            troubles.push(why);
        }
    }
    let own = links::own(deadline).ok();
    let tables = match read_nftables(tables, syns, own.as_deref(), deadline, &mut troubles) {
        Ok(tables) => tables,
        Err((tables, why)) => {
            failed += 1;
            troubles.push(why);
            tables
        }
    };
    let gaps = !troubles.is_empty();
    if gaps {
        troubles.dedup();
        absent.push(Absent::new(SOURCE, troubles.join("; ")));
    }
    Read {
        nothing: failed == 3 && tables.tables.is_empty(),
        tables,
        own,
        gaps,
    }
}

/// Only tables that the kernel lists: asking for another would make it.
fn read_legacy(
    tables: &mut Tables,
    v6: bool,
    deadline: Instant,
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
        let read = read_table(tables, v6, name);
        match read {
            Ok(true) => {}
            Ok(false) => {
                troubles.push(format!("{tool}, table {name}: not all of it is understood"))
            }
            Err(why) => return Err(format!("{tool}, table {name}: {why}")),
        }
    }
    Ok(())
}

fn read_table(tables: &mut Tables, v6: bool, name: &str) -> Result<bool, String> {
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
        if info.size > BLOB || info.count as usize > RULES.saturating_sub(count(tables)) {
            return Err(format!("not read: it has {} entries", info.count));
        }
        match xtables::entries(v6, name, info.size) {
            Ok(blob) => return Ok(legacy::add(tables, v6, name, &info, &blob)),
            Err(Errno::EAGAIN | Errno::EINVAL) => {}
            Err(errno) => return Err(told(errno)),
        }
    }
    Err("it changes while it is read".into())
}

fn count(tables: &Tables) -> usize {
    tables.chains.iter().map(|chain| chain.rules.len()).sum()
}

fn read_nftables(
    tables: Tables,
    syns: &[Syn],
    own: Option<&[std::net::IpAddr]>,
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<Tables, (Tables, String)> {
    if !nftables_present() {
        return Ok(tables);
    }
    let mut builder = Builder::after(tables);
    let told = |failed: Failed| match failed {
        Failed::Kernel(Errno::EPERM) => {
            "nftables: not permitted: reading needs CAP_NET_ADMIN".into()
        }
        failed => format!("nftables: {failed}"),
    };
    let read = Socket::open(SockProtocol::NetlinkNetFilter).and_then(|mut socket| {
        dump(&mut socket, &mut builder, deadline, troubles)?;
        elements(&mut socket, &mut builder, syns, own, deadline, troubles)
    });
    match read {
        Ok(()) | Err(Failed::Kernel(Errno::EOPNOTSUPP | Errno::EINVAL)) => Ok(builder.tables),
        Err(failed) => Err((builder.tables, told(failed))),
    }
}

fn dump(
    socket: &mut Socket,
    builder: &mut Builder,
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<(), Failed> {
    let all = |kind| Request::dump(kind, &[0; NFGENMSG]);
    socket.ask(&all(nft::GET_TABLE), deadline, |_, payload| {
        builder.add_table(payload);
    })?;
    if builder.tables.tables.is_empty() {
        return Ok(());
    }
    socket.ask(&all(nft::GET_CHAIN), deadline, |_, payload| {
        builder.add_chain(payload);
    })?;
    socket.ask(&all(nft::GET_SET), deadline, |_, payload| {
        builder.add_set(payload);
    })?;
    let mut left = RULES.saturating_sub(count(&builder.tables));
    let mut more = 0_u32;
    socket.ask(&all(nft::GET_RULE), deadline, |_, payload| {
        match left.checked_sub(1) {
            Some(rest) => {
                left = rest;
                builder.add_rule(payload);
            }
            None => more += 1,
        }
    })?;
    if more > 0 {
        troubles.push(format!(
            "nftables: {more} rules beyond {RULES} are not read"
        ));
    }
    Ok(())
}

/// The elements of sets that it takes to follow these SYNs.
fn elements(
    socket: &mut Socket,
    builder: &mut Builder,
    syns: &[Syn],
    own: Option<&[std::net::IpAddr]>,
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<(), Failed> {
    let (mut asked, mut left) = (0, ELEMENTS);
    for _ in 0..ROUNDS {
        let mut missing = BTreeSet::new();
        for syn in syns {
            if Instant::now() >= deadline {
                return Err(Failed::Late);
            }
            missing.extend(Walk::new(&builder.tables, own, syn).run(syn).missing);
        }
        missing.retain(|set| {
            let set = builder.tables.sets.get(*set as usize);
            set.is_some_and(|set| set.elements.is_none() && !set.odd)
        });
        if missing.is_empty() {
            return Ok(());
        }
        for set in missing {
            asked += 1;
            if asked > SETS {
                troubles.push(format!(
                    "nftables: of more than {SETS} sets no elements are read"
                ));
                return Ok(());
            }
            fill(socket, builder, set, &mut left, deadline, troubles)?;
        }
    }
    Ok(())
}

fn fill(
    socket: &mut Socket,
    builder: &mut Builder,
    index: u32,
    left: &mut usize,
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<(), Failed> {
    let named = builder.tables.sets.get(index as usize).and_then(|set| {
        let table = builder.tables.tables.get(set.table as usize)?;
        Some((set.name.clone(), table.name.clone(), table.family))
    });
    let Some((name, table, family)) = named else {
        return Ok(());
    };
    let text = |name: &str| [name.as_bytes(), &[0]].concat();
    let request = Request::dump(nft::GET_ELEMENTS, &[nft::protocol(family), 0, 0, 0])
        .with(1, &text(&table))
        .with(2, &text(&name));
    let mut elements = Vec::new();
    let most = *left;
    let answer = socket.ask(&request, deadline, |_, payload| {
        if elements.len() <= most {
            builder.add_elements(index, payload, &mut elements);
        }
    });
    match answer {
        Ok(()) => {}
        // It is gone since.
        Err(Failed::Kernel(Errno::ENOENT)) => return Ok(()),
        Err(failed) => return Err(failed),
    }
    let too_many = elements.len() > most;
    if let Some(set) = builder.tables.sets.get_mut(index as usize) {
        if too_many {
            troubles.push(format!(
                "nftables: elements of sets beyond {ELEMENTS} are not read"
            ));
            set.odd = true;
        } else {
            *left -= elements.len();
            elements.sort_by(|a, b| a.key.cmp(&b.key).then(b.ends.cmp(&a.ends)));
            set.elements = Some(elements);
        }
    }
    Ok(())
}

/// Whether the kernel has nf_tables at work: a question would make it load the module.
fn nftables_present() -> bool {
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    Path::new("/sys/module/nf_tables").exists()
        || !Path::new("/proc/modules").exists()
        || *BUILT_IN.get_or_init(|| is_built_in().unwrap_or(false))
}

/// Whether the kernel itself, not a module, has the function that runs rules.
fn is_built_in() -> io::Result<bool> {
    const NAME: &[u8] = b"\0nft_do_chain\0";
    let mut file = fs::File::open("/sys/kernel/btf/vmlinux")?;
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let read = file.read(buffer.get_mut(kept..).unwrap_or_default())?;
        if read == 0 {
            return Ok(false);
        }
        let held = kept + read;
        let bytes = buffer.get(..held).unwrap_or_default();
        if bytes.windows(NAME.len()).any(|window| window == NAME) {
            return Ok(true);
        }
        let from = held.saturating_sub(NAME.len() - 1);
        buffer.copy_within(from..held, 0);
        kept = held - from;
    }
}
