//! What this kernel and these privileges allow, by trying it.

use aya::Ebpf;

use super::{flows::Flows, object, wire::Taps};
use crate::{
    config::Config,
    hooks::{self, Plan},
    snapshot::{HookStatus, WIRE},
};

/// What [`check`] finds.
pub struct Checked {
    /// All hooks.
    pub hooks: Vec<HookStatus>,
    /// The programs that serve them, by name.
    pub programs: Vec<Loaded>,
}

/// What the kernel made of one program.
pub struct Loaded {
    /// Its name in the object.
    pub name: String,
    /// Instructions that the verifier walked (from 5.16).
    pub verified_instructions: Option<u32>,
    /// Length after the verifier, bytes; 8 are an instruction. Not known without
    /// the privilege to read programs.
    pub translated_bytes: Option<u32>,
    /// Length as machine code, bytes.
    pub jited_bytes: u32,
}

/// Attaches every hook for a moment, in the modes that `config` wants.
pub fn check(config: &Config) -> Checked {
    let loaded = Plan::new(config).and_then(|plan| {
        let ebpf = object::load(config, &plan)?;
        Ok((plan, ebpf))
    });
    let (plan, mut ebpf) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return nothing(&error),
    };
    let mut hooks = plan.try_attach(&mut ebpf);
    hooks.insert(0, wire(tap(&mut ebpf, config)));
    let programs = programs(&ebpf);
    Checked { hooks, programs }
}

fn nothing(error: &anyhow::Error) -> Checked {
    let why = format!("{error:#}");
    let mut hooks = hooks::none(&why);
    hooks.insert(0, wire(Err(anyhow::Error::msg(why))));
    let programs = Vec::new();
    Checked { hooks, programs }
}

/// The mode of the wire tap, which is of no use without the sweep.
fn tap(ebpf: &mut Ebpf, config: &Config) -> anyhow::Result<&'static str> {
    let taps = Taps::load(ebpf, config)?;
    Flows::new(ebpf, object::limits(config)?, config.flows)?;
    Ok(taps.mode().as_str())
}

fn wire(tapped: anyhow::Result<&'static str>) -> HookStatus {
    let (mode, detail) = match tapped {
        Ok(mode) => (mode, String::new()),
        Err(error) => ("none", format!("{error:#}")),
    };
    HookStatus {
        hook: WIRE,
        mode,
        attached: mode != "none",
        detail,
    }
}

fn programs(ebpf: &Ebpf) -> Vec<Loaded> {
    // The others are not loaded: no hook needs them here.
    let loaded = ebpf.programs().filter_map(|(name, program)| {
        let info = program.info().ok()?;
        Some(Loaded {
            name: name.to_owned(),
            verified_instructions: info.verified_instruction_count(),
            translated_bytes: info.size_translated(),
            jited_bytes: info.size_jitted(),
        })
    });
    let mut programs: Vec<Loaded> = loaded.collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    programs
}
