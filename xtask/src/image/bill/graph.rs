//! Which crates are linked together, as `cargo tree` tells it: with the features of one package
//! alone, where `cargo metadata` has those of the whole workspace.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::{proc, workspace};

/// A crate: name and version.
pub(super) type Id = (String, String);

/// What is known of a crate.
#[derive(Default)]
pub(super) struct Crate {
    /// As the manifest has it; empty where it has none.
    pub(super) licence: String,
    /// What it depends on.
    pub(super) on: BTreeSet<Id>,
}

/// Linked crates.
#[derive(Default)]
pub(super) struct Graph(pub(super) BTreeMap<Id, Crate>);

impl Graph {
    /// Adds `package` of this workspace and all that is linked into it for `target`: no macros,
    /// which the compiler runs. Returns its id.
    ///
    /// # Errors
    /// cargo cannot tell.
    pub(super) fn add_linked(&mut self, package: &str, target: &str) -> Result<Id> {
        let mut cargo = workspace::cargo(&["tree", "--locked", "--package", package]);
        cargo
            .args(["--target", target, "--edges", "normal,no-proc-macro"])
            .args(["--prefix", "depth", "--format", "\t{p}\t{l}"]);
        let mut path: Vec<Id> = Vec::new();
        for line in proc::output(&mut cargo)?.lines() {
            let (depth, id, licence) =
                parse(line).with_context(|| format!("cargo tree: {line:?}"))?;
            path.truncate(depth);
            if let Some(parent) = path.last() {
                let parent = self.0.entry(parent.clone()).or_default();
                parent.on.insert(id.clone());
            }
            self.0.entry(id.clone()).or_default().licence = licence;
            path.push(id);
        }
        path.into_iter().next().context("cargo tree says nothing")
    }
}

/// Depth, crate and licence of a line: `DEPTH TAB NAME vVERSION … TAB LICENCE`, behind which
/// ` (*)` says that what it depends on stands elsewhere.
fn parse(line: &str) -> Option<(usize, Id, String)> {
    let mut fields = line.split('\t');
    let depth = fields.next()?.parse().ok()?;
    let mut package = fields.next()?.split(' ');
    let name = package.next()?.to_owned();
    let version = package.next()?.strip_prefix('v')?.to_owned();
    let licence = fields.next()?.trim_end_matches(" (*)").to_owned();
    Some((depth, (name, version), licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_tree() {
        let (depth, id, licence) = parse("2\taya v0.14.0\tMIT OR Apache-2.0 (*)").unwrap();
        assert_eq!(depth, 2);
        assert_eq!(id, ("aya".into(), "0.14.0".into()));
        assert_eq!(licence, "MIT OR Apache-2.0");
        assert!(parse("0\ttracer v0.1.0 (/x/tracer)\tMIT").is_some());
        assert!(parse("").is_none());
    }
}
