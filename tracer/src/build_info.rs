//! Which build this is.

use std::sync::LazyLock;

/// Version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit it was built from; `unknown` outside a checkout.
pub const COMMIT: &str = match option_env!("TRACER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What `--version` prints after the name.
#[must_use]
pub fn version_line() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (commit {COMMIT})"));
    &LINE
}
