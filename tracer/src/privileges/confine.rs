//! Walls around what is left: Landlock against writing files and running
//! programs, seccomp against calls that no thread has a use for. Both hold for
//! good, and where the kernel lacks one, the others stand.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What stands around the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walls {
    /// `full`, `partial` (an older Landlock), `none`.
    pub landlock: &'static str,
    /// All threads have the filter.
    pub seccomp: bool,
}

/// Calls that give or use power which the daemon does not need after its start.
const REFUSED: &[libc::c_long] = &[
    // Other programs, other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Other identities.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    // What the machine is.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    // Ways into the kernel.
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    // Device files.
    libc::SYS_mknod,
    libc::SYS_mknodat,
];

/// Puts up both: seccomp for all threads, Landlock for the calling one and those
/// that it starts from now on. Below `socket`'s folder files may be removed.
pub fn confine(socket: Option<&Path>) -> Walls {
    let told = |what: &str, error: anyhow::Error| {
        tracing::info!(cause = format!("{error:#}"), "no {what}");
    };
    let landlock = landlock(socket).unwrap_or_else(|error| {
        told("Landlock", error);
        "none"
    });
    let seccomp = seccomp();
    let stands = seccomp.is_ok();
    if let Err(error) = seccomp {
        told("seccomp", error);
    }
    Walls {
        landlock,
        seccomp: stands,
    }
}

/// Whether this kernel has them, for `tracer check`.
pub fn available() -> Walls {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let landlock = rules.handle_access(AccessFs::Execute);
    let landlock = landlock.and_then(Ruleset::create).is_ok();
    Walls {
        landlock: if landlock { "full" } else { "none" },
        seccomp: Path::new("/proc/sys/kernel/seccomp").exists(),
    }
}

/// Not for the collector: who is within such walls may not look at processes
/// outside them, and thereby not at the namespaces of pods.
fn landlock(socket: Option<&Path>) -> anyhow::Result<&'static str> {
    let refused = AccessFs::from_write(ABI::V5) | AccessFs::Execute;
    let mut rules = Ruleset::default().handle_access(refused)?.create()?;
    if let Some(folder) = socket.and_then(Path::parent) {
        let folder = PathFd::new(folder)?;
        rules = rules.add_rule(PathBeneath::new(folder, AccessFs::RemoveFile))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

fn seccomp() -> anyhow::Result<()> {
    let rules: BTreeMap<i64, Vec<_>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().context("architecture")?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let filter: BpfProgram = filter.try_into().context("compile the filter")?;
    Ok(seccompiler::apply_filter_all_threads(&filter)?)
}
