//! What the binary is made of: a software bill of materials in CycloneDX JSON, from cargo's own
//! metadata and the sums in `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::VERSION;
use crate::setup::MUSL;
use crate::{proc, workspace};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// None for what the binary itself depends on.
    kind: Option<String>,
}

impl Metadata {
    /// Everything that is linked into `tracer`, by id.
    fn linked(&self) -> BTreeSet<&str> {
        let tracer = self
            .packages
            .iter()
            .find(|package| package.name == "tracer");
        let mut open: Vec<&str> = tracer.iter().map(|package| package.id.as_str()).collect();
        let mut linked = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !linked.insert(id) {
                continue;
            }
            let node = self.resolve.nodes.iter().find(|node| node.id == id);
            let deps = node.into_iter().flat_map(|node| &node.deps);
            let runs = |dep: &&Dependency| dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
            open.extend(deps.filter(runs).map(|dep| dep.pkg.as_str()));
        }
        linked
    }
}

/// SHA-256 of each crate's archive, by name and version.
fn sums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let entries = lock.split("[[package]]").skip(1);
    let field = |entry: &'_ str, name: &str| -> Option<(usize, usize)> {
        let start = entry.find(&format!("\n{name} = \""))? + name.len() + 5;
        Some((start, start + entry.get(start..)?.find('"')?))
    };
    entries
        .filter_map(|entry| {
            let text = |name| field(entry, name).and_then(|(from, to)| entry.get(from..to));
            Some(((text("name")?, text("version")?), text("checksum")?))
        })
        .collect()
}

/// Writes `target/bill/tracer-VERSION.cdx.json`.
///
/// # Errors
/// cargo cannot tell, or the file cannot be written.
pub(crate) fn bill() -> Result<PathBuf> {
    let mut cargo = workspace::cargo(&["metadata", "--format-version", "1", "--locked"]);
    cargo.args(["--filter-platform", MUSL]);
    let metadata: Metadata = serde_json::from_str(&proc::output(&mut cargo)?)?;
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let document = document(&metadata, &sums(&lock));
    let path = workspace::target_dir("bill")?.join(format!("tracer-{VERSION}.cdx.json"));
    fs::write(&path, serde_json::to_string_pretty(&document)? + "\n")
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn document(metadata: &Metadata, sums: &BTreeMap<(&str, &str), &str>) -> Value {
    let linked = metadata.linked();
    let packages = metadata.packages.iter();
    let mut packages: Vec<&Package> = packages
        .filter(|package| linked.contains(package.id.as_str()) && package.name != "tracer")
        .collect();
    packages.sort_by_key(|package| (&package.name, &package.version));
    let components: Vec<Value> = packages
        .into_iter()
        .map(|package| component(package, sums))
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "name": "tracer",
            "version": VERSION,
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        } },
        "components": components,
    })
}

fn component(package: &Package, sums: &BTreeMap<(&str, &str), &str>) -> Value {
    let Package { name, version, .. } = package;
    let mut component = json!({ "type": "library", "name": name, "version": version });
    // Old manifests have a slash where SPDX has OR.
    if let Some(license) = &package.license {
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    // The project's own crates come from no registry.
    if let Some(sum) = sums.get(&(name.as_str(), version.as_str())) {
        component["purl"] = json!(format!("pkg:cargo/{name}@{version}"));
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_names_what_is_linked_with_its_sum() {
        let path = bill().unwrap();
        let bill: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let named = |name: &str| {
            components
                .iter()
                .find(|component| component["name"] == name)
        };
        let aya = named("aya").unwrap();
        assert_eq!(
            aya["purl"],
            format!("pkg:cargo/aya@{}", aya["version"].as_str().unwrap())
        );
        assert_eq!(aya["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert!(named("tracer-common").unwrap().get("purl").is_none());
        // Only the tests and the build need these.
        assert!(named("proptest").is_none() && named("aya-build").is_none());
        let unlicensed = components.iter().filter(|c| c.get("licenses").is_none());
        assert_eq!(unlicensed.count(), 0);
    }
}
