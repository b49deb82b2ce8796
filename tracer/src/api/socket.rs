//! The unix socket: only root may ask, and a socket that a killed daemon left
//! behind is replaced.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

use crate::{config::Socket, exit::Exit};

const REMEDY: &str = "choose another path with --socket, or `--socket none`";

/// Removes the socket when dropped, should it still be there.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Drop for Guard {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            // What cannot be removed is replaced by the next daemon.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket. One that nobody asked for is not worth ending: it is
/// warned of.
///
/// # Errors
/// [`crate::exit::Code::Runtime`] when it cannot be made where it was asked
/// for, or a daemon answers there.
pub async fn bind(socket: &Socket) -> Result<Option<(UnixListener, Guard)>, Exit> {
    let Some(path) = socket.path() else {
        return Ok(None);
    };
    match bind_at(path).await {
        Ok(bound) => Ok(Some(bound)),
        Err(exit) if *socket == Socket::Default => {
            tracing::warn!("{exit}; explain and events load their own programs meanwhile");
            Ok(None)
        }
        Err(exit) => Err(exit),
    }
}

async fn bind_at(path: &Path) -> Result<(UnixListener, Guard), Exit> {
    let failed = |cause: &dyn std::fmt::Display| {
        Exit::runtime(format!("socket {}", path.display()), cause).remedy(REMEDY)
    };
    if let Some(folder) = path.parent() {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(|e| failed(&format!("make {}: {e}", folder.display())))?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(failed(&"a file that is no socket is there"));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(other) => {
                return Err(failed(&format!(
                    "another tracer{} answers there",
                    pid(&other)
                )));
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(failed(&"another tracer is there, and busy"));
            }
            Err(e) => return Err(failed(&e)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(&e)),
    }
    put(path).map_err(|e| failed(&e))
}

/// Who listens at the other end, if its process can be seen from here.
fn pid(stream: &UnixStream) -> String {
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
    match pid.filter(|pid| *pid > 0) {
        Some(pid) => format!(" (pid {pid})"),
        None => String::new(),
    }
}

/// Nobody can connect before the mode is set: the socket gets its name last.
fn put(path: &Path) -> io::Result<(UnixListener, Guard)> {
    let new = path.with_file_name(format!(".tracer-{}", std::process::id()));
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    let named = fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| id(path));
    if named.is_err() {
        let _ = fs::remove_file(&new);
    }
    let path = path.to_owned();
    named.map(|id| (listener, Guard { path, id }))
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}
