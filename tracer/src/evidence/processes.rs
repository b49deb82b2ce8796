//! Which process holds a socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    time::Instant,
};

use super::namespaces::processes;

/// Names of the processes that hold these sockets, by inode; and why some may
/// be missing.
pub fn holding(
    sockets: &BTreeSet<u32>,
    deadline: Instant,
) -> (BTreeMap<u32, String>, Option<String>) {
    let mut names = BTreeMap::new();
    let mut refused = 0;
    for process in processes() {
        if names.len() == sockets.len() {
            break;
        }
        if Instant::now() >= deadline {
            return (names, Some("cut short: its time was over".into()));
        }
        let held = match held(&process, sockets, deadline) {
            Ok(held) => held,
            Err(e) => {
                refused += usize::from(e.kind() == io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        if let (false, Some(name)) = (held.is_empty(), name(&process)) {
            names.extend(held.into_iter().map(|inode| (inode, name.clone())));
        }
    }
    let why = (names.len() < sockets.len()).then(|| {
        if refused > 0 {
            format!("{refused} processes do not show their files: this needs CAP_SYS_PTRACE")
        } else {
            "no visible process holds the socket: this needs hostPID".into()
        }
    });
    (names, why)
}

fn held(process: &Path, sockets: &BTreeSet<u32>, deadline: Instant) -> io::Result<BTreeSet<u32>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(process.join("fd"))?.flatten() {
        if Instant::now() >= deadline {
            break;
        }
        let target = match fs::read_link(entry.path()) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(e),
            // Closed since.
            Err(_) => continue,
        };
        let inode = target.to_str().and_then(inode);
        held.extend(inode.filter(|inode| sockets.contains(inode)));
    }
    Ok(held)
}

/// `socket:[4711]`
fn inode(target: &str) -> Option<u32> {
    let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// A process names itself: control characters are none of it.
fn name(process: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(process.join("comm")).ok()?;
    file.take(64).read_to_end(&mut bytes).ok()?;
    let name: String = String::from_utf8_lossy(&bytes)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
        time::Duration,
    };

    use super::*;

    #[test]
    fn links_to_sockets_are_read() {
        assert_eq!(inode("socket:[4711]"), Some(4711));
        for other in [
            "pipe:[4711]",
            "socket:[]",
            "socket:[-1]",
            "/dev/null",
            "socket:[1",
        ] {
            assert_eq!(inode(other), None, "{other}");
        }
    }

    #[test]
    fn this_process_holds_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = u32::try_from(file.ino()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let (names, why) = holding(&BTreeSet::from([inode]), deadline);
        assert_eq!((names.len(), why), (1, None));
        assert_eq!(names.get(&inode), name(Path::new("/proc/self")).as_ref());
    }

    #[test]
    fn a_search_ends_with_its_time() {
        let (names, why) = holding(&BTreeSet::from([1]), Instant::now());
        assert!(names.is_empty() && why.is_some());
    }
}
