//! How a run of `tracer` ends when it cannot go on.

use std::{fmt, process::ExitCode};

/// Exit codes; 69 and 78 are `EX_UNAVAILABLE` and `EX_CONFIG` of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Something failed while running.
    Runtime = 1,
    /// Wrong arguments.
    Usage = 2,
    /// This kernel, or these privileges, cannot do it.
    Unavailable = 69,
    /// Wrong configuration file or environment.
    Config = 78,
}

/// The end of a run: exit code and one line "what: cause; remedy".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    code: Code,
    what: String,
    cause: String,
    remedy: Option<String>,
}

impl Exit {
    /// `what` was attempted and failed for this `cause`; a cause that is an
    /// error is given with its chain (`{:#}`).
    pub fn new(code: Code, what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self {
            code,
            what: one_line(&what.to_string()),
            cause: one_line(&format!("{cause:#}")),
            remedy: None,
        }
    }

    /// An [`Exit`] with [`Code::Runtime`].
    pub fn runtime(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Code::Runtime, what, cause)
    }

    /// An [`Exit`] with [`Code::Unavailable`].
    pub fn unavailable(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Code::Unavailable, what, cause)
    }

    /// An [`Exit`] with [`Code::Config`].
    pub fn config(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Code::Config, what, cause)
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(one_line(&remedy.to_string()));
        self
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Exit {}

/// Errors of libraries (and of the BPF verifier) may span lines; a log line,
/// or the row of a table, may not.
pub fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let kept: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_one_line_with_cause_and_remedy() {
        let cause = anyhow::anyhow!("no such\n  device").context("open eth9");
        let exit = Exit::unavailable("attach wire tap", cause).remedy("see tracer check");
        assert_eq!(
            exit.to_string(),
            "attach wire tap: open eth9: no such device; see tracer check"
        );
        assert_eq!(exit.code() as u8, 69);
    }

    #[test]
    fn remedy_is_optional() {
        assert_eq!(Exit::runtime("a", "b").to_string(), "a: b");
    }
}
