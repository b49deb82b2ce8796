//! The capabilities that have a use here.

use caps::Capability;

use super::Role;

/// A capability and its use.
#[derive(Debug)]
pub struct Need {
    /// Which.
    pub capability: Capability,
    /// Without it nothing can be loaded.
    pub required: bool,
    /// The role that keeps it once the programs are attached.
    pub kept_by: Option<Role>,
    /// What for; of optional ones, what is missing without.
    pub why: &'static str,
}

const fn need(
    capability: Capability,
    required: bool,
    kept_by: Option<Role>,
    why: &'static str,
) -> Need {
    Need {
        capability,
        required,
        kept_by,
        why,
    }
}

/// All that `tracer run` starts with, at most.
pub const NEEDS: [Need; 8] = [
    need(
        Capability::CAP_BPF,
        true,
        None,
        "loads programs and maps; before Linux 5.19 also reads them",
    ),
    need(
        Capability::CAP_PERFMON,
        true,
        None,
        "loads programs that read kernel memory",
    ),
    need(
        Capability::CAP_NET_ADMIN,
        true,
        Some(Role::Collector),
        "loads programs for packets; asks conntrack and reads rule sets",
    ),
    need(
        Capability::CAP_NET_RAW,
        false,
        Some(Role::Keeper),
        "taps interfaces by packet sockets, where there is no tcx (before Linux 6.6)",
    ),
    need(
        Capability::CAP_SYS_ADMIN,
        false,
        Some(Role::Collector),
        "enters the network namespaces of pods: their queues, sockets and counters",
    ),
    need(
        Capability::CAP_SYS_PTRACE,
        false,
        Some(Role::Collector),
        "finds these namespaces, and who holds a socket, by processes",
    ),
    need(
        Capability::CAP_SYSLOG,
        false,
        None,
        "names the kernel functions that drop packets",
    ),
    need(
        Capability::CAP_SYS_RESOURCE,
        false,
        None,
        "raises the limit of locked memory, which maps count against before Linux 5.11",
    ),
];
