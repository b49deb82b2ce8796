//! Why a file is not to be had.

use std::{fmt, io, path::Path};

use super::PATIENCE;
use crate::exit::Exit;

/// Why a file is not to be had.
#[derive(Debug)]
pub enum Refusal {
    /// The kernel refuses it.
    Io(io::Error),
    /// It is of this kind, and not a regular file.
    Kind(&'static str),
    /// It has more bytes than these.
    TooLarge(u64),
    /// It is not UTF-8 in this line, counted from 1.
    NotText {
        /// The first such line.
        line: usize,
    },
    /// Its file system did not answer in time.
    Late,
    /// So many reads hang already that no other is begun.
    Crowded(usize),
}

impl Refusal {
    /// The end of a run that cannot do without the file, which `flag` named. A file system that
    /// hangs may come back by itself: that is no wrong configuration.
    pub fn exit(&self, path: &Path, flag: &str) -> Exit {
        let what = format!("read {}", path.display());
        let remedy = match self {
            Self::Late | Self::Crowded(_) => {
                format!("see why its file system hangs, or name another file by {flag}")
            }
            Self::Kind(_) => format!("name a regular file by {flag}"),
            Self::TooLarge(_) => format!("is this the file that {flag} should name?"),
            Self::NotText { .. } => "save it as UTF-8".to_owned(),
            Self::Io(_) => format!("check {flag}"),
        };
        let exit = if self.is_late() {
            Exit::runtime(what, self)
        } else {
            Exit::config(what, self)
        };
        exit.remedy(remedy)
    }

    /// Whether it is the file system that hangs, and not the file that is wrong.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late | Self::Crowded(_))
    }

    /// Whether it is one of the rights of who reads.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io(e) if e.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => e.fmt(f),
            Self::Kind(is) => write!(f, "it is {is}, not a regular file"),
            Self::TooLarge(most) => write!(f, "it is larger than {} MiB", most >> 20),
            Self::NotText { line } => write!(f, "it is not UTF-8 in line {line}"),
            Self::Late => {
                let seconds = PATIENCE.as_secs();
                write!(f, "its file system did not answer within {seconds} s")
            }
            Self::Crowded(hang) => {
                write!(f, "{hang} reads of other files hang already")
            }
        }
    }
}

impl std::error::Error for Refusal {}
