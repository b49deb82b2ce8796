//! What the daemon may do: all that starting needs, and then almost nothing.
//!
//! Capabilities belong to threads (capabilities(7)). [`begin`] takes from the
//! first one what no thread ever needs; each thread that is started then calls
//! [`settle`], and raises what its role keeps only while it is at work. From
//! Linux 5.19 on the effective set of every thread is empty at rest; before, the
//! kernel asks for CAP_BPF at every look into a map.

mod calls;
mod confine;
mod needs;

use std::sync::atomic::{AtomicBool, Ordering};

use caps::{CapSet, Capability, CapsHashSet};

pub use calls::{Sockets, confine};
pub use confine::{Opens, Walls, available, folders, wall};
pub use needs::{NEEDS, Need};

/// Whether [`begin`] was called: commands other than `run` end soon.
static BEGUN: AtomicBool = AtomicBool::new(false);
/// Whether this kernel asks for CAP_BPF at every look into a map.
static READING_NEEDS_BPF: AtomicBool = AtomicBool::new(false);

/// Whether interfaces are tapped by packet sockets.
static TAPS_ARE_SOCKETS: AtomicBool = AtomicBool::new(false);

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers requests, remembers, judges: maps and files that are open.
    Reader,
    /// Sweeps, and taps interfaces that come later.
    Keeper,
    /// Asks conntrack and other network namespaces.
    Collector,
}

impl Role {
    /// The name in output, which for two of them is their thread's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Keeper => "keeper",
            Self::Collector => "collector",
        }
    }

    /// What it keeps of what the process was given.
    fn keeps(self) -> CapsHashSet {
        // tcx asks who attaches a loaded program for nothing.
        if self == Self::Keeper && !TAPS_ARE_SOCKETS.load(Ordering::Relaxed) {
            return CapsHashSet::new();
        }
        let kept = NEEDS.iter().filter(|need| need.kept_by == Some(self));
        kept.map(|need| need.capability).collect()
    }
}

/// Gives up, for good, what neither starting nor running needs: the calling
/// thread's and those of threads that it starts. To be called before any is.
/// `pods`: their namespaces will be looked into.
///
/// # Errors
/// The call that the kernel refused, and its error.
pub fn begin(pods: bool) -> anyhow::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    let held = caps::read(None, CapSet::Permitted)?;
    if held.contains(&Capability::CAP_SETPCAP) {
        caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP)?;
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let needed = NEEDS.iter().map(|need| need.capability);
    let kept = needed.filter(|capability| held.contains(capability));
    let mut kept: CapsHashSet = kept.collect();
    if !pods {
        kept.remove(&Capability::CAP_SYS_PTRACE);
        // It stands for CAP_BPF where that was not given.
        if kept.contains(&Capability::CAP_BPF) {
            kept.remove(&Capability::CAP_SYS_ADMIN);
        }
    }
    set(&kept, &kept)?;
    BEGUN.store(true, Ordering::Relaxed);
    Ok(())
}

/// Notes what roles take here: whether taps are packet sockets, and whether maps
/// can be read, which `read` tries without any effective capability.
///
/// # Errors
/// When the calling thread's capabilities cannot be set.
pub fn learn(taps_are_sockets: bool, read: impl FnOnce() -> bool) -> anyhow::Result<()> {
    TAPS_ARE_SOCKETS.store(taps_are_sockets, Ordering::Relaxed);
    if !BEGUN.load(Ordering::Relaxed) {
        return Ok(());
    }
    let held = caps::read(None, CapSet::Effective)?;
    caps::clear(None, CapSet::Effective)?;
    READING_NEEDS_BPF.store(!read(), Ordering::Relaxed);
    caps::set(None, CapSet::Effective, &held)?;
    Ok(())
}

/// Leaves this thread, and those that it starts, what its role keeps; of that
/// nothing is effective, but for what reading maps takes here.
pub fn settle(role: Role) {
    if !BEGUN.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = try_settle(role) {
        let error = format!("{error:#}");
        tracing::warn!(role = role.as_str(), error, "capabilities are kept");
    }
}

fn try_settle(role: Role) -> anyhow::Result<()> {
    let held = caps::read(None, CapSet::Permitted)?;
    let reads = reads(&held);
    let mut kept = role.keeps();
    kept.retain(|capability| held.contains(capability));
    kept.extend(&reads);
    set(&kept, &reads)
}

/// What has to be effective to read maps: CAP_BPF or what stands for it.
fn reads(held: &CapsHashSet) -> CapsHashSet {
    let needed = READING_NEEDS_BPF.load(Ordering::Relaxed);
    let either = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];
    let first = either.into_iter().find(|c| held.contains(c));
    first.filter(|_| needed).into_iter().collect()
}

/// What a role keeps of what the process holds now, for people.
pub fn kept(role: Role, held: &CapsHashSet) -> Vec<String> {
    let kept = NEEDS.iter().map(|need| need.capability);
    let kept = kept.filter(|c| held.contains(c) && role.keeps().contains(c));
    kept.chain(reads(held)).map(|c| c.to_string()).collect()
}

/// Whether [`begin`] was called: what cannot be undone is not done without.
pub fn begun() -> bool {
    BEGUN.load(Ordering::Relaxed)
}

/// What this thread was given.
pub fn held() -> CapsHashSet {
    caps::read(None, CapSet::Permitted).unwrap_or_default()
}

/// Both sets of this thread; the effective one lies within the other.
fn set(permitted: &CapsHashSet, effective: &CapsHashSet) -> anyhow::Result<()> {
    // In this order: the effective set may never be the larger.
    caps::set(None, CapSet::Effective, effective)?;
    caps::set(None, CapSet::Permitted, permitted)?;
    Ok(())
}

/// While it lives, all that its thread keeps is effective.
#[must_use]
pub struct Raised(Option<CapsHashSet>);

/// Makes what the calling thread keeps effective.
pub fn raise() -> Raised {
    if !BEGUN.load(Ordering::Relaxed) {
        return Raised(None);
    }
    let before = caps::read(None, CapSet::Effective).unwrap_or_default();
    // Where it fails, what needs it fails and says so.
    let _ = caps::set(None, CapSet::Effective, &held());
    Raised(Some(before))
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(before) = self.0.take()
            && let Err(error) = caps::set(None, CapSet::Effective, &before)
        {
            tracing::warn!(%error, "capabilities stay effective");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_keeps_what_it_is_said_to() {
        let all: CapsHashSet = caps::all();
        assert!(kept(Role::Reader, &all).is_empty());
        assert!(kept(Role::Keeper, &all).is_empty(), "by tcx");
        TAPS_ARE_SOCKETS.store(true, Ordering::Relaxed);
        assert_eq!(kept(Role::Keeper, &all), ["CAP_NET_RAW"]);
        TAPS_ARE_SOCKETS.store(false, Ordering::Relaxed);
        assert_eq!(
            kept(Role::Collector, &all),
            ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]
        );
        assert!(kept(Role::Collector, &CapsHashSet::new()).is_empty());
    }

    #[test]
    fn other_commands_are_left_alone() {
        let before = caps::read(None, CapSet::Effective).unwrap();
        settle(Role::Reader);
        drop(raise());
        assert_eq!(caps::read(None, CapSet::Effective).unwrap(), before);
    }
}
