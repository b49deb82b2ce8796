//! What must be there before anything is loaded, so that the error names what is missing
//! rather than the step that it spoils.

use anyhow::Context as _;
use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};

use super::interfaces::inventory;
use crate::{config::Config, exit::Exit};

/// Names the capability that is missing.
///
/// # Errors
/// [`crate::exit::Code::Unavailable`] with all that are.
pub fn privileges() -> Result<(), Exit> {
    let status = procfs::process::Process::myself().and_then(|p| p.status());
    let Ok(status) = status else { return Ok(()) };
    const NEEDED: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
    const SYS_ADMIN: u32 = 21;
    let has = |bit: u32| status.capeff >> bit & 1 == 1;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(bit, _)| !(has(*bit) || *bit >= 38 && has(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Exit::unavailable(
        "load the kernel programs",
        format!("{} missing", missing.join(", ")),
    )
    .remedy("run as root or grant these capabilities"))
}

/// Tries a map and a program of nothing: aya would take a refusal for an old
/// kernel, and fail later with what misleads.
pub(super) fn permitted() -> Result<(), Exit> {
    let tried = || -> anyhow::Result<()> {
        is_map_supported(MapType::Array).context("make a map")?;
        is_program_supported(ProgramType::SocketFilter).context("load a program")?;
        Ok(())
    };
    tried().map_err(|e| {
        let remedy =
            "what else forbids bpf(2) here: a seccomp profile, AppArmor, SELinux, or a limit?";
        Exit::unavailable("load the kernel programs", e).remedy(remedy)
    })
}

/// All configured interfaces are there.
///
/// # Errors
/// [`crate::exit::Code::Config`] with the first that is not, and those that are.
pub fn interfaces_exist(config: &Config) -> Result<(), Exit> {
    let inventory = inventory().map_err(|e| Exit::runtime("look at the interfaces", e))?;
    for wanted in &config.interfaces {
        let names = || inventory.interfaces.values().map(|i| i.name.as_str());
        if !names().any(|name| name == wanted) {
            let there = names().collect::<Vec<_>>().join(", ");
            return Err(
                Exit::config(format!("interface {wanted}"), "does not exist")
                    .remedy(format!("interfaces here: {there}")),
            );
        }
    }
    Ok(())
}
