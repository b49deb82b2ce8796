//! What the binary is made of: a software bill of materials in CycloneDX JSON, from cargo's own
//! metadata and the sums in `Cargo.lock`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{VERSION, git};
use crate::setup::MUSL;
use crate::{proc, workspace};

mod graph;

use graph::{Crate, Graph, Id};

/// Target of the kernel object.
const BPF: &str = "bpfel-unknown-none";
const LICENCE: &str = "MIT OR Apache-2.0";

/// SHA-256 of each crate's archive, by name and version.
type Sums<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

fn sums(lock: &str) -> Sums<'_> {
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
/// cargo or git cannot tell, or the file cannot be written.
pub(crate) fn bill() -> Result<PathBuf> {
    let mut graph = Graph::default();
    let tracer = graph.add_linked("tracer", MUSL)?;
    // The daemon carries the kernel object; cargo knows of no such dependency.
    let object = graph.add_linked("tracer-ebpf", BPF)?;
    let standard = standard_library(&mut graph)?;
    let linked = graph.0.entry(tracer.clone()).or_default();
    linked.on.extend([object, standard]);
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let document = document(&graph, &tracer, &sums(&lock))?;
    let path = workspace::target_dir("bill")?.join(format!("tracer-{VERSION}.cdx.json"));
    fs::write(&path, serde_json::to_string_pretty(&document)? + "\n")
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn document(graph: &Graph, tracer: &Id, sums: &Sums<'_>) -> Result<Value> {
    let parts = graph.0.iter().filter(|(id, _)| *id != tracer);
    let components: Vec<Value> = parts
        .map(|(id, part)| component(id, &part.licence, sums))
        .collect();
    let dependencies: Vec<Value> = graph.0.iter().map(depends).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            // Of the commit: the same sources have the same bill.
            "timestamp": git(&["log", "-1", "--format=%cI"])?,
            "component": {
                "bom-ref": reference(tracer),
                "type": "application",
                "name": tracer.0,
                "version": tracer.1,
                "licenses": [{ "expression": LICENCE }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn depends((id, part): (&Id, &Crate)) -> Value {
    let on: Vec<String> = part.on.iter().map(reference).collect();
    json!({ "ref": reference(id), "dependsOn": on })
}

/// Adds Rust's own libraries, in the version of the pinned compiler.
fn standard_library(graph: &mut Graph) -> Result<Id> {
    let said = proc::output(workspace::command("rustc").arg("--version"))?;
    let version = said.split_whitespace().nth(1).context("rustc --version")?;
    let id = ("std".to_owned(), version.to_owned());
    graph.0.entry(id.clone()).or_default().licence = LICENCE.to_owned();
    Ok(id)
}

fn reference((name, version): &Id) -> String {
    format!("{name}@{version}")
}

fn component(id: &Id, licence: &str, sums: &Sums<'_>) -> Value {
    let (name, version) = id;
    let mut component = json!({
        "bom-ref": reference(id),
        "type": "library",
        "name": name,
        "version": version,
    });
    if !licence.is_empty() {
        // Old manifests have a slash where SPDX has OR.
        let licence = licence.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": licence }]);
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
        // The kernel object has crates of its own.
        assert!(named("aya-ebpf").is_some());
        // Only the tests, the build and the compiler need these.
        for absent in ["proptest", "aya-build", "serde_derive", "syn"] {
            assert!(named(absent).is_none(), "{absent}");
        }
        let unlicensed = components.iter().filter(|c| c.get("licenses").is_none());
        assert_eq!(unlicensed.count(), 0);
    }
}
