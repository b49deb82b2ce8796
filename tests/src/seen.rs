//! What tests saw of hooks and programs, for the table of `cargo xtask test --vm`:
//! lines of JSON in the file that the environment variable `TRACER_SEEN` names.
//! Without it nothing is written.

use std::{env, fs::OpenOptions, io::Write as _};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// A daemon that this test started, or `tracer check`, said so of a hook.
    Hook(Hook),
    /// The test found what these hooks count, or tell, to be right, in the
    /// modes that its daemon said last.
    Right {
        /// The test.
        test: String,
        /// Names of hooks.
        hooks: Vec<String>,
    },
    /// What the kernel made of a program.
    Program {
        /// Its name in the object.
        name: String,
        /// Instructions that the verifier walked, or where the kernel does not
        /// tell, the program's length after it.
        instructions: u64,
    },
}

/// What was said of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The test.
    pub test: String,
    /// The hook's name.
    pub hook: String,
    /// How it is attached; `none`, or a mode that the kernel lacks.
    pub mode: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why it is not, or how, or why not better; may be empty.
    pub detail: String,
}

/// Whether anybody wants to know.
pub(crate) fn wanted() -> bool {
    env::var_os("TRACER_SEEN").is_some()
}

/// Writes lines.
///
/// # Errors
/// The file cannot be written.
pub fn note(lines: impl IntoIterator<Item = Seen>) -> Result<()> {
    let Some(path) = env::var_os("TRACER_SEEN") else {
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.with_context(|| format!("open {}", path.display()))?;
    for line in lines {
        writeln!(file, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

/// What these hooks count or tell was right: to be called after the assertions.
///
/// # Errors
/// The file cannot be written.
pub fn right(hooks: &[&str]) -> Result<()> {
    let hooks = hooks.iter().map(ToString::to_string).collect();
    note([Seen::Right {
        test: test(),
        hooks,
    }])
}

/// A daemon's metrics and log once it is ready.
pub(crate) fn daemon(metrics: &Metrics, log: &str) -> Result<()> {
    let all = metrics.series("tracer_hook_attached", &[]);
    let hooks = all.map(|(labels, value)| {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let hook = label("hook");
        let line = log
            .lines()
            .find(|line| line.contains(&format!("hook={hook} ")));
        // The wire tap's detail is its interfaces.
        let detail = line.filter(|_| hook != "wire");
        Seen::Hook(Hook {
            test: test(),
            mode: label("mode"),
            attached: value == 1.0,
            detail: detail.map_or_else(String::new, |line| field(line, "detail")),
            hook,
        })
    });
    let without = log.lines().find(|line| line.contains("no tcx"));
    let without = without.map(|line| {
        Seen::Hook(Hook {
            test: test(),
            hook: "wire".to_owned(),
            mode: "tcx".to_owned(),
            attached: false,
            detail: field(line, "reason"),
        })
    });
    note(without.into_iter().chain(hooks))
}

/// The test that runs in this thread, with its executable.
#[must_use]
pub fn test() -> String {
    let executable = env::args().next().unwrap_or_default();
    let file = executable.rsplit('/').next().unwrap_or_default();
    // cargo puts a hash behind the name.
    let file = file.rsplit_once('-').map_or(file, |(name, _)| name);
    let thread = std::thread::current();
    format!("{file}::{}", thread.name().unwrap_or_default())
}

/// The value of a key in a line of logfmt; empty when it has none.
fn field(line: &str, key: &str) -> String {
    let Some((_, rest)) = line.split_once(&format!(" {key}=")) else {
        return String::new();
    };
    let Some(quoted) = rest.strip_prefix('"') else {
        return rest.split(' ').next().unwrap_or_default().to_owned();
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_logfmt() {
        let line =
            r#"level=warn message="hook absent" hook=a mode=none detail="load: \"x\" (1)" b="#;
        assert_eq!(field(line, "detail"), r#"load: "x" (1)"#);
        assert_eq!(field(line, "mode"), "none");
        assert_eq!(field(line, "reason"), "");
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let line = Seen::Right {
            test: test(),
            hooks: vec!["wire".to_owned()],
        };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), line);
        assert!(
            test().ends_with("lines_are_read_as_they_are_written"),
            "{}",
            test()
        );
    }
}
