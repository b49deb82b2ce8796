//! The configuration file.

use std::path::Path;

use super::Settings;
use crate::{
    exit::Exit,
    files::{self, LARGEST},
    yaml,
};

/// Reads a YAML file: every key is a long flag with `_` for `-`; the flags
/// `--web.…` and `--log.…` are the keys of the sections `web` and `log`, where
/// `_` stands for a second dot too.
///
/// # Errors
/// [`crate::exit::Code::Config`] when it cannot be read, has an unknown key or
/// a bad value; the message has the key, the line and the column.
pub fn read(path: &Path) -> Result<Settings, Exit> {
    let shown = path.display();
    let text = files::read_text(path, LARGEST).map_err(|e| e.exit(path, "--config"))?;
    parse(&text).map_err(|cause| {
        Exit::config(shown, cause)
            .remedy("the keys are the long flags of `tracer run --help`, with _ for -")
    })
}

pub(super) fn parse(text: &str) -> Result<Settings, String> {
    yaml::parse(text)
}
