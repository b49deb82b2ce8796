//! Finding the network namespaces of this node, and looking into them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use nix::sched::{CloneFlags, setns};

/// Where container runtimes and ip-netns(8) keep namespaces by name.
const NAMED: [&str; 3] = ["/run/netns", "/var/run/netns", "/var/run/docker/netns"];
/// Ways to one namespace that are kept, in case a process ends.
const WAYS: usize = 3;
/// Most namespaces that are followed.
pub const MOST: usize = 4096;

/// The namespaces of this node by inode, as far as they can be found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files that stand for each.
    pub paths: BTreeMap<u64, Vec<PathBuf>>,
    /// Why some may be missing, and what would help.
    pub missing: Option<String>,
    /// There was no time to look everywhere.
    pub cut_short: bool,
}

impl Scan {
    /// Looks for the namespaces; `node` is left out.
    pub fn now(node: u64, deadline: Instant) -> Self {
        let mut scan = Self::default();
        let Ok(device) = fs::metadata("/proc/self/ns/net").map(|m| m.dev()) else {
            scan.missing = Some("/proc/self/ns/net cannot be read: is /proc mounted?".into());
            return scan;
        };
        let mut add = |path: PathBuf| -> io::Result<u64> {
            let file = fs::metadata(&path)?;
            // What is left of a deleted namespace is a plain file.
            let known = scan.paths.len();
            if file.dev() == device && file.ino() != node && known < MOST {
                let paths = scan.paths.entry(file.ino()).or_default();
                if paths.len() < WAYS {
                    paths.push(path);
                }
            }
            Ok(file.ino())
        };
        for directory in NAMED {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                // Gone since, or none of ours.
                let _ = add(entry.path());
            }
        }
        let processes = Processes::look(&mut add, deadline);
        scan.cut_short = processes.cut_short;
        scan.missing = processes.missing(!scan.paths.is_empty());
        scan
    }
}

/// What came of asking every process for its namespace.
#[derive(Debug, Default)]
struct Processes {
    /// A process of each namespace that can be found so.
    of: BTreeMap<u64, PathBuf>,
    /// The [`mark`]s of namespaces whose processes refuse.
    hidden: BTreeSet<Option<u64>>,
    all: usize,
    cut_short: bool,
}

impl Processes {
    fn look(add: &mut impl FnMut(PathBuf) -> io::Result<u64>, deadline: Instant) -> Self {
        let mut seen = Self::default();
        for process in processes() {
            if Instant::now() >= deadline {
                seen.cut_short = true;
                break;
            }
            seen.all += 1;
            match add(process.join("ns/net")) {
                Ok(inode) => {
                    seen.of.entry(inode).or_insert(process);
                }
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    seen.hidden.insert(mark(&process));
                }
                // It has ended.
                Err(_) => {}
            }
        }
        if !seen.hidden.is_empty() {
            for process in seen.of.values() {
                seen.hidden.remove(&mark(process));
            }
        }
        seen
    }

    /// `found`: namespaces are known by name or process all the same.
    fn missing(&self, found: bool) -> Option<String> {
        if self.cut_short {
            let all = self.all;
            return Some(format!(
                "cut short after {all} processes: its time was over"
            ));
        }
        let hidden = self.hidden.len();
        if hidden > 0 {
            return Some(format!(
                "processes hide {hidden} or more of them: this needs CAP_SYS_PTRACE"
            ));
        }
        (!found && !sees_kernel()).then(|| {
            "none of this node's pods can be seen: this needs hostPID, or the host's \
             /run/netns mounted"
                .into()
        })
    }
}

/// Directories of all processes, by number.
pub fn processes() -> impl Iterator<Item = PathBuf> {
    let numbered = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(numbered)
}

/// Tells namespaces apart for whoever may not see which they are: each has files
/// of its own there. `None`: /proc hides the process altogether.
fn mark(process: &Path) -> Option<u64> {
    let file = fs::metadata(process.join("net/snmp")).ok()?;
    Some(file.ino())
}

/// The kernel's threads are visible in the node's own PID namespace only.
fn sees_kernel() -> bool {
    fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim_end() == "kthreadd")
}

/// A thread that may change its network namespace, since it ends thereafter.
pub struct Visitor {
    /// The node's namespace.
    pub node: File,
}

/// Runs `work` on such a thread and waits for its end.
///
/// # Errors
/// When there can be no such thread.
pub fn apart<T: Send>(work: impl FnOnce(&Visitor) -> T + Send) -> Result<T, String> {
    let node = File::open("/proc/thread-self/ns/net")
        .map_err(|e| format!("open /proc/thread-self/ns/net: {e}"))?;
    thread::scope(|scope| {
        thread::Builder::new()
            .name("namespaces".into())
            .spawn_scoped(scope, move || work(&Visitor { node }))
            .map_err(|e| format!("start a thread: {e}"))?
            .join()
            .map_err(|_| "the thread that looks into them failed".to_owned())
    })
}

impl Visitor {
    /// Inode of the node's namespace.
    pub fn node_inode(&self) -> u64 {
        self.node.metadata().map_or(0, |m| m.ino())
    }

    /// Puts this thread into a namespace by the first of its files that still
    /// stands for it.
    ///
    /// # Errors
    /// Why not, and what would help.
    pub fn enter(&self, inode: u64, paths: &[PathBuf]) -> Result<(), String> {
        let mut why = "it is gone".to_owned();
        for path in paths {
            match enter(inode, path) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    why = "not permitted: this needs CAP_SYS_ADMIN (and CAP_SYS_PTRACE)".into();
                }
                Err(e) => why = e.to_string(),
            }
        }
        Err(why)
    }
}

fn enter(inode: u64, path: &Path) -> io::Result<bool> {
    // A named pipe put there would block.
    if fs::metadata(path)?.ino() != inode {
        return Ok(false);
    }
    let file = File::open(path)?;
    if file.metadata()?.ino() != inode {
        return Ok(false);
    }
    setns(&file, CloneFlags::CLONE_NEWNET)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn own() -> u64 {
        fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
    }

    #[test]
    fn the_own_namespace_is_found_unless_left_out() {
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(Scan::now(0, deadline).paths.contains_key(&own()));
        assert!(!Scan::now(own(), deadline).paths.contains_key(&own()));
    }

    #[test]
    fn a_scan_ends_with_its_time() {
        let scan = Scan::now(0, Instant::now());
        assert!(scan.cut_short && scan.missing.is_some());
    }

    #[test]
    fn what_does_not_stand_for_a_namespace_is_not_entered() {
        let entered = apart(|visitor| {
            let paths = [PathBuf::from("/proc/self/ns/net"), "/nonexistent".into()];
            visitor.enter(1, &paths)
        });
        assert!(entered.unwrap().is_err());
    }

    #[test]
    fn the_other_threads_stay_where_they_are() {
        let before = own();
        let visited = apart(|visitor| {
            let mut entered = 0;
            let scan = Scan::now(
                visitor.node_inode(),
                Instant::now() + Duration::from_secs(5),
            );
            for (inode, paths) in scan.paths.iter().take(5) {
                entered += usize::from(visitor.enter(*inode, paths).is_ok() && own() == *inode);
            }
            entered
        });
        assert_eq!(own(), before);
        assert!(visited.is_ok());
    }

    #[test]
    fn reasons_name_what_helps() {
        let seen = Processes {
            hidden: BTreeSet::from([Some(7)]),
            ..Processes::default()
        };
        assert!(seen.missing(true).unwrap().contains("CAP_SYS_PTRACE"));
        assert_eq!(Processes::default().missing(true), None);
    }
}
