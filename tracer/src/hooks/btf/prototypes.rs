//! Prototypes of tracepoints and functions.

use anyhow::{Context as _, Result, ensure};

use super::{Btf, kind, word};

/// A parameter or a result, as far as who reads it must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A pointer to a struct or union of this name; empty for anything else.
    Pointer(String),
    /// An integer or an enumerator of this many bytes.
    Integer(u32),
    /// Anything else.
    Other,
}

impl std::fmt::Display for Argument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pointer(to) if to.is_empty() => write!(f, "a pointer"),
            Self::Pointer(to) => write!(f, "a pointer to struct {to}"),
            Self::Integer(size) => write!(f, "an integer of {size} bytes"),
            Self::Other => write!(f, "something else"),
        }
    }
}

/// What a function takes and returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    pub arguments: Vec<Argument>,
    pub result: Argument,
}

impl Btf {
    /// The prototype of a tracepoint; `None` when the kernel lacks it.
    ///
    /// # Errors
    /// When the BTF is damaged.
    pub fn tracepoint(&self, name: &str) -> Result<Option<Prototype>> {
        let Some(id) = self.find(kind::TYPEDEF, &format!("btf_trace_{name}"))? else {
            return Ok(None);
        };
        let pointer = self.stripped(id)?;
        ensure!(
            pointer.kind() == kind::PTR,
            "btf_trace_{name} is no pointer"
        );
        let mut prototype = self.prototype(pointer.size_or_type)?;
        ensure!(
            !prototype.arguments.is_empty(),
            "btf_trace_{name} has no parameter"
        );
        // The first one is the probe's own data.
        prototype.arguments.remove(0);
        Ok(Some(prototype))
    }

    /// The prototype of a function; `None` when the BTF has none of this name.
    ///
    /// # Errors
    /// When the BTF is damaged.
    pub fn function(&self, name: &str) -> Result<Option<Prototype>> {
        let Some(id) = self.find(kind::FUNC, name)? else {
            return Ok(None);
        };
        let found = self.stripped(id)?;
        self.prototype(found.size_or_type).map(Some)
    }

    fn prototype(&self, id: u32) -> Result<Prototype> {
        let found = self.stripped(id)?;
        ensure!(found.kind() == kind::FUNC_PROTO, "no function's prototype");
        let argument = |index| {
            let id = word(&self.blob, found.data + index * 8 + 4)?;
            self.argument(id).context("a parameter")
        };
        Ok(Prototype {
            arguments: (0..found.len()).map(argument).collect::<Result<_>>()?,
            result: self.argument(found.size_or_type).context("the result")?,
        })
    }

    fn argument(&self, id: u32) -> Result<Argument> {
        let Some(found) = self.unless_void(id)? else {
            return Ok(Argument::Other);
        };
        Ok(match found.kind() {
            kind::INT | kind::ENUM | kind::ENUM64 => Argument::Integer(found.size_or_type),
            kind::PTR => Argument::Pointer(self.struct_name(found.size_or_type)?),
            _ => Argument::Other,
        })
    }

    /// The name of a struct or union, also of a mere declaration of one.
    fn struct_name(&self, id: u32) -> Result<String> {
        let Some(found) = self.unless_void(id)? else {
            return Ok(String::new());
        };
        let named = matches!(found.kind(), kind::STRUCT | kind::UNION | kind::FWD);
        let name = if named { self.name(found.name) } else { &[] };
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}
