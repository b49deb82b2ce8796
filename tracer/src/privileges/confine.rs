//! Walls around what is left: Landlock against writing files, running programs and
//! reading what a thread has no use for, seccomp ([`super::calls`]) against calls that it has no
//! use for. Both hold for good, and where the kernel lacks one, the other stands.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

use crate::files;

/// What stands around the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walls {
    /// `full`, `partial` (an older Landlock), `none`.
    pub landlock: &'static str,
    /// Threads have the filter.
    pub seccomp: bool,
}

/// What the kernel shows of itself.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// What a thread may go on to open.
#[derive(Clone, Copy, Debug)]
pub enum Opens<'a> {
    /// What lies below these folders, and below /proc and /sys; and no connection.
    Below(&'a [PathBuf]),
    /// Everything: who looks up names of hosts and follows a kubeconfig's files.
    Anything,
}

/// Walls the calling thread in by Landlock, and those that it starts from now on:
/// it writes no file and runs none, signals nobody outside and connects to no abstract unix socket
/// of theirs; below the folder `removes` files may go.
/// Returns `full`, `partial` (an older Landlock) or `none`.
///
/// Not for the collector: who is within such walls may not look at processes
/// outside them, and thereby not at the namespaces of pods.
pub fn wall(opens: Opens<'_>, removes: Option<&Path>) -> &'static str {
    if !super::begun() {
        return "none";
    }
    try_wall(opens, removes).unwrap_or_else(|error| {
        tracing::info!(cause = format!("{error:#}"), "no Landlock");
        "none"
    })
}

/// The folders of a file: where its name lies, and where it leads to.
pub fn folders(file: &Path) -> Vec<PathBuf> {
    let real = files::canonical(file).ok();
    let files = [Some(file.to_owned()), real].into_iter().flatten();
    let folder = |file: PathBuf| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    files.map(folder).collect()
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

fn try_wall(opens: Opens<'_>, removes: Option<&Path>) -> anyhow::Result<&'static str> {
    let reads = AccessFs::ReadFile | AccessFs::ReadDir;
    let refused = AccessFs::from_write(ABI::V5) | AccessFs::Execute;
    let rules = Ruleset::default()
        .handle_access(refused)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    let mut rules = match opens {
        Opens::Anything => rules,
        Opens::Below(_) => rules
            .handle_access(reads)?
            .handle_access(AccessNet::from_all(ABI::V4))?,
    }
    .create()?;
    let read: Vec<&Path> = match opens {
        Opens::Below(folders) => KERNEL
            .iter()
            .map(Path::new)
            .chain(folders.iter().map(PathBuf::as_path))
            .collect(),
        Opens::Anything => Vec::new(),
    };
    let read = read.into_iter().map(|folder| (folder, reads));
    let removes = removes.map(|folder| (folder, AccessFs::RemoveFile.into()));
    for (folder, access) in read.chain(removes) {
        // What is not there cannot be opened either.
        if let Ok(folder) = PathFd::new(folder) {
            rules = rules.add_rule(PathBeneath::new(folder, access))?;
        }
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::File, net::TcpListener, net::TcpStream, thread};

    use nix::{errno::Errno, sys::signal::kill, unistd::getppid};

    use super::*;

    #[test]
    fn a_walled_thread_reads_what_it_is_said_to() {
        if available().landlock == "none" {
            return;
        }
        let folder = std::env::temp_dir().join(format!("tracer-wall-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (inside, outside) = (folder.join("inside"), folder.with_extension("outside"));
        fs::write(&inside, "").unwrap();
        fs::write(&outside, "").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let walled = |opens: Opens<'_>| {
            thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    nix::sys::prctl::set_no_new_privs().unwrap();
                    try_wall(opens, None).unwrap();
                    let reads = |path: &Path| File::open(path).is_ok();
                    let kernel = reads(Path::new("/proc/self/stat"));
                    assert!(kernel && fs::write(&inside, "x").is_err());
                    let connects = TcpStream::connect(address).is_ok();
                    // Linux 6.12 and newer look at signals.
                    let rules = Ruleset::default();
                    let rules = rules.set_compatibility(CompatLevel::HardRequirement);
                    if rules.scope(Scope::Signal).and_then(Ruleset::create).is_ok() {
                        let signalled = kill(getppid(), None);
                        assert_eq!(signalled, Err(Errno::EPERM));
                    }
                    (reads(&inside), reads(&outside), connects)
                });
                thread.join().unwrap()
            })
        };
        let below = [folder.clone()];
        let (reads, strays, connects) = walled(Opens::Below(&below));
        assert!(reads && !strays);
        // Before Linux 6.7 it does not look at connections.
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let net = rules.handle_access(AccessNet::ConnectTcp);
        assert_eq!(connects, net.and_then(Ruleset::create).is_err());
        assert_eq!(walled(Opens::Anything), (true, true, true));
        assert!(File::open(&outside).is_ok(), "others are as they were");
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_file(&outside).unwrap();
    }

    #[test]
    fn a_file_is_found_by_its_name_and_where_it_leads() {
        let root = std::env::temp_dir().join(format!("tracer-folders-{}", std::process::id()));
        let data = root.join("..1");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("web.yml"), "").unwrap();
        let name = root.join("web.yml");
        std::os::unix::fs::symlink("..1/web.yml", &name).unwrap();
        assert_eq!(
            folders(&name),
            [root.clone(), fs::canonicalize(&data).unwrap()]
        );
        assert_eq!(folders(Path::new("no-such-file")), [PathBuf::from(".")]);
        fs::remove_dir_all(&root).unwrap();
    }
}
