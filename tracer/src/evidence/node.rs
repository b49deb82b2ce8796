//! Sources in the node's own namespace: routes, sockets that hold watched
//! ports, conntrack entries.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use tracer_common::flow::FlowKey;

use super::{
    Absent, Entry, Holder, conntrack,
    netlink::Failed,
    processes,
    routes::{Routes, Way},
    sockets::{Sock, Sockets, fullness},
};

/// Time allowed to each source.
const ROUTES: Duration = Duration::from_millis(150);
const HOLDERS: Duration = Duration::from_millis(150);
const NAMES: Duration = Duration::from_millis(200);
const ENTRIES: Duration = Duration::from_millis(100);
/// Most conntrack entries looked up.
const MOST_ENTRIES: usize = 32;

/// The way to each backend.
pub fn ways(
    backends: impl Iterator<Item = IpAddr>,
    absent: &mut Vec<Absent>,
) -> HashMap<IpAddr, Way> {
    let backends: BTreeSet<IpAddr> = backends.collect();
    let mut ways = HashMap::new();
    if backends.is_empty() {
        return ways;
    }
    let deadline = Instant::now() + ROUTES;
    let asked = Routes::open(deadline).and_then(|mut routes| {
        for backend in &backends {
            if let Some(way) = routes.to(*backend, deadline)? {
                ways.insert(*backend, way);
            }
        }
        Ok(())
    });
    if let Err(failed) = asked {
        let why = format!("{failed}; known for {} of {}", ways.len(), backends.len());
        absent.push(Absent::new("routes", why));
    }
    ways
}

/// Sockets that listen on watched ports (ascending).
pub fn holders(watched: &[u16], absent: &mut Vec<Absent>) -> Vec<Holder> {
    let mut holders = BTreeMap::new();
    if let Err(failed) = find_holders(watched, &mut holders) {
        absent.push(Absent::new("sockets of the node", failed.to_string()));
    }
    name_holders(&mut holders, absent);
    holders.into_values().map(|(holder, _)| holder).collect()
}

/// Holders by port, each with the inodes of its sockets.
type Holders = BTreeMap<u16, (Holder, BTreeSet<u32>)>;

fn find_holders(watched: &[u16], holders: &mut Holders) -> Result<(), Failed> {
    let deadline = Instant::now() + HOLDERS;
    let mut sockets = Sockets::open()?;
    for sock in sockets.listening(deadline)? {
        if !sock.loopback() && watched.binary_search(&sock.port).is_ok() {
            add_listener(holders, &sock);
        }
    }
    let ports = (holders.first_key_value(), holders.last_key_value());
    let (Some((first, _)), Some((last, _))) = ports else {
        return Ok(());
    };
    if holders
        .values()
        .all(|(holder, _)| holder.listener.queue == 0)
    {
        return Ok(());
    }
    sockets.connected((*first, *last), deadline, |sock| {
        let Some((holder, _)) = holders.get_mut(&sock.port) else {
            return;
        };
        if sock.not_accepted() {
            holder.not_accepted += 1;
            holder.close_wait += u32::from(sock.close_wait());
        } else {
            holder.accepted += 1;
        }
    })
}

fn add_listener(holders: &mut Holders, sock: &Sock) {
    let listener = sock.listener();
    let (holder, inodes) = holders.entry(sock.port).or_insert_with(|| {
        let holder = Holder {
            node_port: sock.port,
            listener,
            not_accepted: 0,
            accepted: 0,
            close_wait: 0,
            process: None,
        };
        (holder, BTreeSet::new())
    });
    if fullness(&listener) > fullness(&holder.listener) {
        holder.listener = listener;
    }
    inodes.insert(sock.inode);
}

/// Only where connections wait: it means to walk through all processes.
fn name_holders(holders: &mut Holders, absent: &mut Vec<Absent>) {
    let waiting = |holder: &Holder| holder.not_accepted > 0;
    let inodes: BTreeSet<u32> = holders
        .values()
        .filter(|(holder, _)| waiting(holder))
        .flat_map(|(_, inodes)| inodes)
        .copied()
        .collect();
    if inodes.is_empty() {
        return;
    }
    let (names, why) = processes::holding(&inodes, Instant::now() + NAMES);
    for (holder, inodes) in holders.values_mut().filter(|(holder, _)| waiting(holder)) {
        holder.process = inodes.iter().find_map(|inode| names.get(inode)).cloned();
    }
    absent.extend(why.map(|why| Absent::new("processes of the node's sockets", why)));
}

/// The conntrack entries of flows, as far as the budget goes.
pub fn entries(flows: &[FlowKey], absent: &mut Vec<Absent>) -> Vec<Entry> {
    let mut entries = Vec::new();
    if flows.is_empty() {
        return entries;
    }
    let deadline = Instant::now() + ENTRIES;
    let mut asked = 0;
    let mut why = format!("at most {MOST_ENTRIES} are asked for at once");
    match conntrack::Table::open() {
        Ok(mut table) => {
            for flow in flows.iter().take(MOST_ENTRIES) {
                match table.entry(flow, deadline) {
                    Ok(entry) => entries.extend(entry),
                    Err(failed) => {
                        why = failed.to_string();
                        break;
                    }
                }
                asked += 1;
            }
        }
        Err(refused) => why = refused,
    }
    let skipped = flows.len() - asked;
    if skipped > 0 {
        let why = format!(
            "{skipped} of {} flows were not looked up: {why}",
            flows.len()
        );
        absent.push(Absent::new("conntrack entries", why));
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// On any address, as kube-proxy does; the port is the kernel's choice.
    #[test]
    fn a_socket_that_never_accepts_is_a_holder() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let gone = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(gone);
        let mut absent = Vec::new();
        let holders = holders(&[port], &mut absent);
        assert_eq!(holders.len(), 1, "{absent:?}");
        let holder = &holders[0];
        assert_eq!((holder.node_port, holder.listener.queue), (port, 2));
        assert_eq!((holder.not_accepted, holder.close_wait), (2, 1));
        assert!(holder.process.is_some(), "{absent:?}");
    }

    #[test]
    fn loopback_and_unwatched_ports_are_no_holders() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(holders(&[port], &mut Vec::new()), []);
        assert_eq!(holders(&[], &mut Vec::new()), []);
    }

    #[test]
    fn flows_beyond_the_budget_are_counted() {
        let mut absent = Vec::new();
        let flows = vec![FlowKey::default(); MOST_ENTRIES + 3];
        let found = entries(&flows, &mut absent);
        assert!(found.is_empty());
        assert!(
            absent[0].why.contains("flows were not looked up"),
            "{absent:?}"
        );
    }
}
