//! Each verdict is held by a scenario in network namespaces that asks for it, and by one
//! in which it is nearly true and must not be said.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::verdict::Verdict;

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/netns")
}

/// All sources of the scenarios, joined.
fn sources(folder: &Path) -> io::Result<String> {
    let mut all = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.push_str(&sources(&path)?);
        } else {
            all.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(all)
}

/// The rows of the table in `near_miss.rs`: a verdict, and the file and function of its
/// near miss.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    table.lines().filter_map(|line| {
        let row = line.strip_prefix("//! | `")?;
        let (verdict, miss) = row.split_once("` | `")?;
        let (file, function) = miss.split('`').next()?.split_once("::")?;
        Some((verdict, file, function))
    })
}

#[test]
fn each_verdict_has_its_scenario_and_its_near_miss() {
    let all = sources(&scenarios()).unwrap();
    let known: BTreeSet<&str> = Verdict::ALL.iter().map(|v| v.as_str()).collect();
    let known = &known - &BTreeSet::from([Verdict::Unexplained.as_str()]);
    for verdict in &known {
        let name = format!("\"{verdict}\"");
        assert!(all.contains(&name), "no scenario asks for {name}");
    }
    let table = fs::read_to_string(scenarios().join("explain/near_miss.rs")).unwrap();
    let told: BTreeSet<&str> = rows(&table).map(|(verdict, ..)| verdict).collect();
    assert_eq!(told, known);
    for (verdict, file, function) in rows(&table) {
        let beside = scenarios().join(format!("explain/{file}.rs"));
        let path = if beside.exists() {
            beside
        } else {
            scenarios().join(format!("{file}.rs"))
        };
        let test = format!("#[test]\nfn {function}()");
        let there = fs::read_to_string(&path)
            .unwrap_or_default()
            .contains(&test);
        assert!(there, "{verdict}: no test {function} in {}", path.display());
    }
}
