//! Reads of the files that an operator names: settings, names of Services, certificates, tokens.
//!
//! Nothing is sure about such a name. It may lead to a pipe that nobody writes to, to a device
//! without an end, or into a file system that hangs, on which no call returns, whatever the
//! flags. So each read takes regular files alone, has a bound on its size and a deadline, and a
//! thread of its own, which is left behind when the deadline has passed.

mod left;
mod refusal;

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread::Builder,
    time::Duration,
};

pub use refusal::Refusal;

/// Largest file of settings, certificates or tokens, bytes.
pub const LARGEST: u64 = 1 << 20;
/// How long a file system may take for one file. SIGTERM waits for no more than one of them.
const PATIENCE: Duration = Duration::from_secs(1);
/// Stack of a thread that reads, bytes.
const STACK: usize = 128 * 1024;

/// The bytes of a regular file of `largest` bytes at most.
///
/// # Errors
/// Why it is not to be had, within [`PATIENCE`].
pub fn read(path: &Path, largest: u64) -> Result<Vec<u8>, Refusal> {
    let file = path.to_owned();
    within(path, PATIENCE, move || bytes(&file, largest))?
}

/// The same as text in UTF-8.
///
/// # Errors
/// Why it is not to be had, or the line that is no text.
pub fn read_text(path: &Path, largest: u64) -> Result<String, Refusal> {
    text(read(path, largest)?)
}

/// What the file system says of a file, or of what its links lead to.
///
/// # Errors
/// Why it says nothing, within [`PATIENCE`].
pub fn metadata(path: &Path) -> Result<Metadata, Refusal> {
    let file = path.to_owned();
    Ok(within(path, PATIENCE, move || std::fs::metadata(file))??)
}

/// Where a file's links lead to.
///
/// # Errors
/// Why that is not known, within [`PATIENCE`].
pub fn canonical(path: &Path) -> Result<PathBuf, Refusal> {
    let file = path.to_owned();
    Ok(within(path, PATIENCE, move || {
        std::fs::canonicalize(file)
    })??)
}

/// Bytes as text; a byte-order mark, as some editors put it, is none of it.
///
/// # Errors
/// The line that is no UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, Refusal> {
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let before = e.as_bytes().iter().take(good);
        Refusal::NotText {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Does `work`, which may hang on the file system of `path`, on a thread of its own. That thread
/// has the rights, and the walls, of the caller's.
fn within<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let entry = left::enter(path)?;
    let ending = entry.ending();
    let (tell, told) = sync_channel(1);
    let thread = Builder::new()
        .name("file".into())
        .stack_size(STACK)
        .spawn(move || {
            let _ending = ending;
            // Who asked may have gone.
            let _ = tell.send(work());
        })?;
    match told.recv_timeout(patience) {
        Ok(found) => {
            // It has nothing left to do.
            let _ = thread.join();
            Ok(found)
        }
        Err(RecvTimeoutError::Timeout) => {
            entry.leave();
            Err(Refusal::Late)
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(io::Error::other("the thread that reads it panicked").into())
        }
    }
}

fn bytes(path: &Path, largest: u64) -> Result<Vec<u8>, Refusal> {
    // Before it is opened: with some devices that alone does something.
    regular(&std::fs::metadata(path)?)?;
    let file = OpenOptions::new()
        .read(true)
        // Should it have become a pipe or a terminal since.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    regular(&file.metadata()?)?;
    whole(file, largest)
}

fn whole(file: File, largest: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(Refusal::TooLarge(largest));
    }
    Ok(bytes)
}

fn regular(about: &Metadata) -> Result<(), Refusal> {
    let kind = about.file_type();
    let is = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "of a kind of its own",
    };
    Err(Refusal::Kind(is))
}

#[cfg(test)]
mod tests;
