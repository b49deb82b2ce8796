//! nftables' part, by netlink.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::OnceLock,
    time::Instant,
};

use nix::{errno::Errno, sys::socket::SockProtocol};

use super::{RULES, count, ways::ELEMENTS};
use crate::evidence::{
    netlink::{Failed, Request, Socket},
    rules::{
        Tool,
        nft::{self, Builder, NFGENMSG},
        table::{Chain, Table},
        xt,
    },
};

/// Adds the tables, chains and sets, and the rules of the chains that the kernel calls, to
/// what was read before. Returns the socket for more of them.
pub(super) fn begin(
    builder: &mut Builder,
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<Option<Socket>, Failed> {
    if !nftables_present() {
        return Ok(None);
    }
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
    dump(&mut socket, builder, deadline, troubles)?;
    Ok(Some(socket))
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
    if builder.is_empty() {
        return Ok(());
    }
    socket.ask(&all(nft::GET_CHAIN), deadline, |_, payload| {
        builder.add_chain(payload);
    })?;
    if let Some(table) = &builder.filters_frames {
        troubles.push(format!(
            "nftables: table bridge {} may drop frames of bridges: that is not followed",
            xt::text(table.as_bytes())
        ));
    }
    socket.ask(&all(nft::GET_SET), deadline, |_, payload| {
        builder.add_set(payload);
    })?;
    let chains = builder.tables.chains.iter().zip(0..);
    let own = |(chain, _): &(&Chain, u32)| {
        let table = builder.tables.tables.get(chain.table as usize);
        table.is_some_and(|table| table.tool != Tool::IptablesLegacy)
    };
    let first = chains.filter(own).filter(|(chain, _)| chain.is_first());
    let first: Vec<u32> = first.map(|(_, index)| index).collect();
    rules(socket, builder, &first, deadline, troubles)
}

/// The rules of these chains.
pub(super) fn rules(
    socket: &mut Socket,
    builder: &mut Builder,
    chains: &[u32],
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<(), Failed> {
    let mut left = RULES.saturating_sub(count(&builder.tables));
    for index in chains {
        let named = builder
            .tables
            .chains
            .get(*index as usize)
            .and_then(|chain| {
                let table = builder.tables.tables.get(chain.table as usize)?;
                Some(request(nft::GET_RULE, table, &chain.name))
            });
        let Some(request) = named else { continue };
        let mut more = 0_u32;
        let answer = socket.ask(&request, deadline, |_, payload| match left.checked_sub(1) {
            Some(rest) => {
                left = rest;
                builder.add_rule(*index, payload);
            }
            None => more += 1,
        });
        match answer {
            // It is gone since.
            Ok(()) | Err(Failed::Kernel(Errno::ENOENT)) => {}
            Err(failed) => return Err(failed),
        }
        if more > 0 {
            troubles.push(format!(
                "nftables: {more} rules beyond {RULES} are not read"
            ));
        }
        if let Some(chain) = builder.tables.chains.get_mut(*index as usize) {
            chain.read = more == 0;
            if more > 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// For what a chain or a set of a table holds.
fn request(kind: u16, table: &Table, name: &str) -> Request {
    let text = |name: &str| [name.as_bytes(), &[0]].concat();
    Request::dump(kind, &[nft::protocol(table.family), 0, 0, 0])
        .with(1, &text(&table.name))
        .with(2, &text(name))
}

/// The elements of a set; of all sets together no more than `left`.
pub(super) fn fill(
    socket: &mut Socket,
    builder: &mut Builder,
    index: u32,
    left: &mut usize,
    deadline: Instant,
    troubles: &mut Vec<String>,
) -> Result<(), Failed> {
    let named = builder.tables.sets.get(index as usize).and_then(|set| {
        let table = builder.tables.tables.get(set.table as usize)?;
        Some(request(nft::GET_ELEMENTS, table, &set.name))
    });
    let Some(request) = named else {
        return Ok(());
    };
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
