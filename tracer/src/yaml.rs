//! Reading the YAML files that people write.

use serde::de::DeserializeOwned;

/// What a text says; of blank lines and comments alone, nothing.
///
/// # Errors
/// What is wrong, with its line and column.
pub fn parse<T: DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    let blank = |line: &str| matches!(line.trim().as_bytes(), [] | [b'#', ..] | b"---");
    if text.lines().all(blank) {
        return Ok(T::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}
