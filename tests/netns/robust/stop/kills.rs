//! SIGKILL at moments that nobody chooses.

use std::{
    collections::BTreeSet, ffi::OsString, io::ErrorKind, os::unix::net::UnixStream, path::Path,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use fastrand::Rng;
use testbed::{
    cleanup::{NETNS_DIR, ScratchDir},
    leftovers::{Held, nothing_attached},
};

use super::{TAPS, bed, begin, held, under_traffic, wait_ready};

/// Kills in the short form, and in the long one (`TRACER_LONG=1`).
const KILLS: [usize; 2] = [50, 100];

fn kills() -> usize {
    KILLS[usize::from(std::env::var_os("TRACER_LONG").is_some())]
}

/// Named network namespaces, but for those of beds, which come and go beside this one.
fn namespaces() -> Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in Path::new(NETNS_DIR).read_dir()? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with("bed-") {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Nobody listens any more; a new daemon takes the place of the name.
fn socket_is_dead(socket: &Path) -> Result<()> {
    match UnixStream::connect(socket) {
        Ok(_) => bail!("somebody answers at the socket"),
        Err(e) => {
            let gone = matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
            ensure!(gone, "{e}");
            Ok(())
        }
    }
}

#[test]
fn killed_at_any_moment_nothing_stays() -> Result<()> {
    let (bed, _servers) = bed()?;
    let dir = ScratchDir::new()?;
    let socket = dir.path().join("tracer.sock");
    let before = namespaces()?;
    let mut rng = Rng::with_seed(3);
    under_traffic(&bed, || {
        for round in 0..kills() {
            let tap = TAPS[round / 2 % 2];
            let mut process = begin(&bed, tap, &socket)?;
            let held = if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(rng.u64(..2000)));
                Held::by(process.pid())?
            } else {
                wait_ready(&bed, &mut process)?;
                std::thread::sleep(Duration::from_millis(rng.u64(..300)));
                held(&bed, &process)?
            };
            process.kill();
            nothing_attached(&bed.node)?;
            held.is_freed()?;
            socket_is_dead(&socket)?;
            ensure!(namespaces()? == before, "other namespaces than before");
        }
        Ok(())
    })
}
