//! What a daemon has attached and loaded, and whether that is gone: asked of
//! the kernel itself (bpf(2)).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    time::Duration,
};

use crate::{netns::Netns, process::poll_until};
use anyhow::{Context as _, Result};
use nix::{errno::Errno, net::if_::if_nameindex};

/// The promise for a killed daemon.
const SOON: Duration = Duration::from_secs(1);
/// Memory that nothing uses any more: the kernel frees it when all CPUs have
/// passed by, which takes long on a busy machine.
const LATER: Duration = Duration::from_secs(60);

// enum bpf_cmd and bpf_attach_type of include/uapi/linux/bpf.h.
const PROG_GET_NEXT_ID: libc::c_long = 11;
const MAP_GET_NEXT_ID: libc::c_long = 12;
const PROG_QUERY: libc::c_long = 16;
const LINK_GET_NEXT_ID: libc::c_long = 31;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// `bpf(2)` with integers alone, as 32-bit words.
fn bpf(command: libc::c_long, attr: &mut [u32; 16]) -> io::Result<i32> {
    let size = size_of_val(attr);
    // SAFETY: the kernel reads and writes `size` bytes of `attr` at most; the
    // commands used here take no pointers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size) };
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number of tcx programs at an interface of the current namespace.
fn tcx_programs(ifindex: u32, direction: u32) -> io::Result<u32> {
    let mut attr = [0; 16];
    attr[0] = ifindex;
    attr[1] = direction;
    match bpf(PROG_QUERY, &mut attr) {
        // `count`, after flags, attach_flags and a pointer.
        Ok(_) => Ok(attr[6]),
        // Before 6.6 there is no tcx.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(0),
        Err(e) => Err(e),
    }
}

fn tcx_of_all() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for interface in &if_nameindex()? {
        for direction in [TCX_INGRESS, TCX_EGRESS] {
            let count = tcx_programs(interface.index(), direction)?;
            if count > 0 {
                found.push(format!("{interface:?}: {count} tcx programs"));
            }
        }
    }
    Ok(found)
}

/// Everything in `ns` that looks at its packets: tcx programs, clsact qdiscs,
/// packet sockets.
pub fn attached(ns: &Netns) -> Result<Vec<String>> {
    let mut found = ns.enter(tcx_of_all)??;
    let qdiscs = ns.run(&["tc", "qdisc", "show"])?;
    let hooks = |line: &&str| line.contains("clsact") || line.contains("ingress");
    found.extend(qdiscs.lines().filter(hooks).map(str::to_owned));
    let sockets = ns.enter(|| std::fs::read_to_string("/proc/thread-self/net/packet"))??;
    let sockets = sockets.lines().skip(1);
    found.extend(sockets.map(|line| format!("packet socket {line}")));
    Ok(found)
}

/// Waits until nothing is attached in `ns`.
pub fn nothing_attached(ns: &Netns) -> Result<()> {
    let mut left = Vec::new();
    let waited = poll_until(SOON, "still attached", || {
        left = attached(ns)?;
        Ok(left.is_empty().then_some(()))
    });
    waited.with_context(|| format!("{left:?}"))
}

/// What the descriptors of a process keep in the kernel, by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    programs: BTreeSet<u32>,
    links: BTreeSet<u32>,
    /// With the kernel memory of each, bytes.
    maps: BTreeMap<u32, u64>,
}

impl Held {
    /// Reads the descriptors of the process `pid`.
    pub fn by(pid: i32) -> Result<Self> {
        let mut held = Self::default();
        for entry in Path::new(&format!("/proc/{pid}/fdinfo")).read_dir()? {
            // Closed since.
            let Ok(text) = std::fs::read_to_string(entry?.path()) else {
                continue;
            };
            let number = |key: &str| {
                let value = text.lines().find_map(|line| line.strip_prefix(key));
                value.and_then(|value| value.trim().parse::<u64>().ok())
            };
            let id = |key| number(key).and_then(|id| u32::try_from(id).ok());
            held.programs.extend(id("prog_id:"));
            held.links.extend(id("link_id:"));
            let memory = number("memlock:").unwrap_or(0);
            held.maps.extend(id("map_id:").map(|id| (id, memory)));
        }
        Ok(held)
    }

    /// Kernel memory of the maps in bytes, by the kernel's own count.
    #[must_use]
    pub fn map_memory(&self) -> u64 {
        self.maps.values().sum()
    }

    /// Programs and links that the kernel still has.
    pub fn left(&self) -> Result<Vec<u32>> {
        let mut left = still(PROG_GET_NEXT_ID, self.programs.iter())?;
        left.extend(still(LINK_GET_NEXT_ID, self.links.iter())?);
        Ok(left)
    }

    /// Waits until the kernel has freed all of it: programs and links soon, maps
    /// later.
    pub fn is_freed(&self) -> Result<()> {
        let waited = poll_until(SOON, "still loaded", || {
            Ok(self.left()?.is_empty().then_some(()))
        });
        waited.with_context(|| format!("{:?} of {self:?}", self.left()))?;
        let maps = || still(MAP_GET_NEXT_ID, self.maps.keys());
        let waited = poll_until(LATER, "maps stay", || Ok(maps()?.is_empty().then_some(())));
        waited.with_context(|| format!("{:?} of {self:?}", maps()))
    }
}

/// Which of these ids the kernel still has. Asked for the one after its
/// predecessor: a descriptor of it would be a user of it, whose coming and going
/// can make the kernel keep a dying program array for good
/// (`prog_array_map_clear`).
fn still<'a>(command: libc::c_long, ids: impl Iterator<Item = &'a u32>) -> Result<Vec<u32>> {
    let mut left = Vec::new();
    for id in ids {
        let mut attr = [0; 16];
        attr[0] = id.saturating_sub(1);
        match bpf(command, &mut attr) {
            Ok(_) if attr[1] == *id => left.push(*id),
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(left)
}
