//! Where captures come from: files and standard input, gzip or not.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// The first bytes of a gzip member (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Shorter files are read before a bar would be seen.
const LONG: u64 = 64 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;

/// Opens a capture; `-` is standard input.
///
/// # Errors
/// When it cannot be opened or read.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            let why = "it is a terminal; pipe a capture into it, as in `tcpdump -w - | …`";
            return Err(io::Error::other(why));
        }
        return unzipped(io::stdin().lock());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let length = if metadata.is_file() {
        metadata.len()
    } else {
        0
    };
    if length < LONG || !io::stderr().is_terminal() {
        return unzipped(file);
    }
    unzipped(bar(length, path).wrap_read(file))
}

/// What a gzip member holds; anything else as it is.
pub(super) fn unzipped(reader: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let gzip = reader.fill_buf()?.starts_with(&GZIP);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    })
}

fn bar(length: u64, path: &Path) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5))
        // The answer stands alone, after Ctrl-C too.
        .with_finish(ProgressFinish::AndClear);
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    bar.set_prefix(crate::human::printable(&name).into_owned());
    bar
}
