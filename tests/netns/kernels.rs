//! What `tracer check` makes of a kernel: every hook, in each mode that there is,
//! with the prototypes and struct members that the programs assume. What the
//! verifier made of each program is noted for `cargo xtask test --vm`.

#[path = "kernels/ipvs.rs"]
mod ipvs;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use testbed::{Tracer, kernel, seen};

/// `tracer check -o json`.
#[derive(Debug, Deserialize)]
struct Checked {
    ok: bool,
    hooks: Vec<Hook>,
    programs: Vec<Program>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    hook: String,
    possible: bool,
    mode: String,
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Program {
    name: String,
    verified_instructions: Option<u64>,
    translated_bytes: Option<u64>,
}

impl Checked {
    fn by(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(Tracer::binary()?);
        let output = command.args(["check", "-o", "json"]).args(args).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", output.status);
        serde_json::from_slice(&output.stdout).context("the answer of tracer check")
    }

    fn note(&self) -> Result<()> {
        let programs = self.programs.iter().map(|program| {
            const INSTRUCTION: u64 = 8;
            let length = program.translated_bytes.map(|bytes| bytes / INSTRUCTION);
            let instructions = program.verified_instructions.or(length);
            Ok(seen::Seen::Program {
                name: program.name.clone(),
                instructions: instructions.with_context(|| format!("{program:?}"))?,
            })
        });
        let hooks = self.hooks.iter().map(|hook| {
            Ok(seen::Seen::Hook(seen::Hook {
                test: seen::test(),
                hook: hook.hook.clone(),
                mode: hook.mode.clone(),
                attached: hook.possible,
                detail: hook.detail.clone(),
            }))
        });
        seen::note(hooks.chain(programs).collect::<Result<Vec<_>>>()?)
    }
}

/// Every hook has to be in its mode: `wire` in this, those at functions in `connect`.
fn modes(checked: &Checked, wire: &str, tracepoints: &str, connect: &str) -> Result<()> {
    ensure!(checked.ok && checked.hooks.len() == 10, "{checked:#?}");
    for hook in &checked.hooks {
        let mode = match hook.hook.as_str() {
            "wire" => wire,
            "tcp_v4_connect" | "tcp_v6_connect" if kernel::has_probes() => connect,
            "tcp_v4_connect" | "tcp_v6_connect" => "none",
            _ => tracepoints,
        };
        ensure!(hook.mode == mode, "not {mode}: {hook:?}");
        ensure!(hook.possible == (mode != "none"), "{hook:?}");
    }
    Ok(())
}

#[test]
fn vm_best_modes() -> Result<()> {
    let checked = Checked::by(&[])?;
    let wire = if kernel::has_tcx()? { "tcx" } else { "packet" };
    modes(&checked, wire, "tp_btf", "fentry")?;
    checked.note()
}

#[test]
fn vm_other_modes() -> Result<()> {
    let wanted = ["--wire-tap", "packet", "--tracepoint-hook", "raw-tp"];
    let checked = Checked::by(&[&wanted[..], &["--connect-hook", "kprobe"]].concat())?;
    modes(&checked, "packet", "raw_tp", "kprobe")?;
    checked.note()
}
