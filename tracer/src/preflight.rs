//! What `tracer run` refuses for its settings, before anything is loaded; `tracer check` refuses
//! the same, by the same function.

use crate::{config::Config, exit::Exit, http::Web, kernel, services::Services};

/// Tries all that the settings name: interfaces, files, and what these say.
///
/// # Errors
/// [`crate::exit::Code::Config`] with what is wrong, where, and how to mend it;
/// [`crate::exit::Code::Runtime`] when a file system does not answer.
pub fn settings(config: &Config) -> Result<Option<Web>, Exit> {
    kernel::interfaces_exist(config)?;
    Services::check(config)?;
    config.web_config.as_deref().map(Web::open).transpose()
}
