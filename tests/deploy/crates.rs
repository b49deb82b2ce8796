//! What `deny.toml` refuses, shown by cargo-deny on a package that deserves it; and the bill of
//! materials, checked with CycloneDX's own schema.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{cleanup::ScratchDir, peers::thrift, process::run};

use super::{python_tool, read, repository};

/// Where cargo-deny keeps the database of its default address.
const DATABASE: &str = "advisory-db-3157b0e258782691";
const ADVISORY: &str = "\
```toml
[advisory]
id = \"RUSTSEC-2020-9999\"
package = \"aya\"
date = \"2020-01-01\"
[versions]
patched = [PATCHED]
```
# Made up
For this test.
";
/// Prints what CycloneDX's schema and the list of SPDX licences have against a bill.
const VALIDATE: &str = "
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
text = open(sys.argv[1]).read()
print(JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) or 'valid')
spdx = get_spdx_licensing()
for part in json.loads(text)['components']:
    for licence in part['licenses']:
        if spdx.validate(licence['expression']).errors:
            print(part['name'], licence)
";

/// Writes a package of this name that depends on `dependencies`.
fn package(dir: &Path, name: &str, about: &str, dependencies: &str) -> Result<()> {
    fs::create_dir_all(dir.join("src"))?;
    fs::write(dir.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"{name}\"\n{about}\nedition = \"2024\"\npublish = false\n\
         [dependencies]\n{dependencies}\n[workspace]\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest)?;
    Ok(())
}

/// Makes a git repository of a directory.
fn commit(dir: &Path) -> Result<()> {
    let author = ["-c", "user.name=x", "-c", "user.email=x@localhost"];
    let record = [&author[..], &["commit", "-qm", "x", "--allow-empty"]].concat();
    for args in [&["init", "-q"][..], &["add", "--all"], &record] {
        let mut git = Command::new("git");
        git.arg("-C").arg(dir).args(args);
        run(git, "")?;
    }
    Ok(())
}

/// Whether cargo-deny is content with a package, and what it says.
fn judge(manifest: &Path, rules: &Path, check: &str) -> Result<(bool, String)> {
    let mut deny = python_tool("cargo-deny", "tests")?;
    deny.arg("--manifest-path").arg(manifest);
    deny.args(["--offline", "--color", "never", "--config"])
        .arg(rules)
        .args(["check", check]);
    let output = deny.output().context("cargo-deny")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.success(), said))
}

/// Fails unless the rules of this repository refuse the package `main` in `dir`, with `words`.
fn refused(dir: &Path, check: &str, words: &str) -> Result<()> {
    let rules = repository("deny.toml");
    let (content, said) = judge(&dir.join("main/Cargo.toml"), &rules, check)?;
    ensure!(!content && said.contains(words), "{check}: {said}");
    Ok(())
}

const ABOUT: &str = "version = \"1.0.0\"\nlicense = \"MIT\"";

#[test]
fn copyleft_is_refused() -> Result<()> {
    let dir = ScratchDir::new()?;
    let about = ABOUT.replace("MIT", "GPL-3.0-only");
    package(&dir.path().join("copyleft"), "copyleft", &about, "")?;
    let on = "copyleft = { path = \"../copyleft\" }";
    package(&dir.path().join("main"), "main", ABOUT, on)?;
    refused(dir.path(), "licenses", "license is not explicitly allowed")
}

#[test]
fn an_unknown_source_is_refused() -> Result<()> {
    let dir = ScratchDir::new()?;
    let source = dir.path().join("source");
    package(&source, "source", ABOUT, "")?;
    commit(&source)?;
    let on = format!("source = {{ git = \"file://{}\" }}", source.display());
    package(&dir.path().join("main"), "main", ABOUT, &on)?;
    // The only one that cargo has to fetch.
    let mut lock = Command::new("cargo");
    lock.args(["generate-lockfile", "--manifest-path"])
        .arg(dir.path().join("main/Cargo.toml"));
    run(lock, "")?;
    refused(dir.path(), "sources", "'git' source not explicitly allowed")
}

#[test]
fn a_second_version_is_refused() -> Result<()> {
    let dir = ScratchDir::new()?;
    for version in ["1.0.0", "2.0.0"] {
        let about = ABOUT.replace("1.0.0", version);
        package(&dir.path().join(version), "twice", &about, "")?;
    }
    let on = "twice = { path = \"../1.0.0\" }\n\
              again = { package = \"twice\", path = \"../2.0.0\" }";
    package(&dir.path().join("main"), "main", ABOUT, on)?;
    refused(
        dir.path(),
        "bans",
        "found 2 duplicate entries for crate 'twice'",
    )
}

#[test]
fn an_advisory_refuses_a_crate_of_ours() -> Result<()> {
    let dir = ScratchDir::new()?;
    let database = dir.path().join(DATABASE);
    let advisories = database.join("crates/aya");
    let section = format!("[advisories]\ndb-path = \"{}\"", dir.path().display());
    let rules = read("deny.toml")?.replace("[advisories]", &section);
    let rules = dir.write("deny.toml", &rules)?;
    fs::create_dir_all(&advisories)?;
    let judged = |patched| {
        let advisory = ADVISORY.replace("PATCHED", patched);
        fs::write(advisories.join("RUSTSEC-2020-9999.md"), advisory)?;
        commit(&database)?;
        judge(&repository("Cargo.toml"), &rules, "advisories")
    };
    let (content, said) = judged("\">=0.1\"")?;
    ensure!(content, "of old versions: {said}");
    let (content, said) = judged("")?;
    ensure!(!content && said.contains("RUSTSEC-2020-9999"), "{said}");
    Ok(())
}

/// The bill that `cargo xtask test` or `cargo xtask image` made last.
fn bill() -> Result<PathBuf> {
    let dir = repository("target/bill");
    let entries = fs::read_dir(&dir)
        .with_context(|| format!("{}: cargo xtask image makes it", dir.display()))?;
    let path = entries.filter_map(|entry| Some(entry.ok()?.path())).next();
    path.with_context(|| format!("no bill in {}", dir.display()))
}

#[test]
fn the_bill_of_materials_is_valid() -> Result<()> {
    let mut python = Command::new(thrift::python()?);
    python.args(["-c", VALIDATE]).arg(bill()?);
    assert_eq!(run(python, "")?, "valid\n");
    Ok(())
}
