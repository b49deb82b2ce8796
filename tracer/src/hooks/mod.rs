//! The socket hooks: where their programs find kernel structs, which of them
//! this kernel allows, and attaching them in the best mode it has.

mod attach;
mod btf;
mod offsets;

use std::path::Path;

use aya::{Ebpf, EbpfLoader};

pub use crate::config::ConnectHook;
use crate::{exit::Exit, snapshot::HookStatus};

/// The kernel's own type information.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The required hook.
const SET_STATE: &str = crate::snapshot::SOCKET_STATE;

/// What the programs must know before they are verified, and what to attach.
#[derive(Debug)]
pub struct Plan {
    offsets: offsets::Offsets,
    want: ConnectHook,
}

impl Plan {
    /// Resolves struct offsets from the BTF at `btf` ([`KERNEL_BTF`]).
    ///
    /// # Errors
    /// Exit 69 when it cannot be read or a required hook misses a member, which
    /// is named as `struct.member`.
    pub fn new(btf: &Path, want: ConnectHook) -> Result<Self, Exit> {
        let what = format!("read struct offsets from {}", btf.display());
        let blob = std::fs::read(btf).map_err(|error| {
            Exit::unavailable(&what, error).remedy("needs a kernel with CONFIG_DEBUG_INFO_BTF=y")
        })?;
        let offsets = btf::Btf::parse(&blob).and_then(|btf| offsets::Offsets::resolve(&btf));
        match offsets {
            Ok(offsets) => Ok(Self { offsets, want }),
            Err(error) => Err(Exit::unavailable(what, format!("{error:#}"))
                .remedy("this kernel is not supported; please report its version")),
        }
    }

    /// Sets the programs' globals.
    pub fn globals<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (name, offset) in &self.offsets.values {
            loader.override_global(name, offset, true);
        }
        loader.override_global("RETRANSMIT_HAS_ERR", &self.offsets.retransmit_has_err, true);
    }

    /// Loads and attaches the programs; they stay attached as long as `ebpf` lives.
    ///
    /// # Errors
    /// An [`Exit`] 69 when a required hook, or the connect hook that was asked
    /// for by name, cannot be attached. The others degrade; their status says why.
    pub fn attach(&self, ebpf: &mut Ebpf) -> anyhow::Result<Vec<HookStatus>> {
        let hooks = self.try_attach(ebpf);
        let missing = hooks.iter().find(|hook| !hook.attached && self.requires(hook));
        match missing {
            None => Ok(hooks),
            Some(HookStatus { hook, detail, .. }) => {
                let exit = Exit::unavailable(format!("attach to {hook}"), detail)
                    .remedy("tracer check shows what this kernel allows");
                Err(exit.into())
            }
        }
    }

    /// Attaches what can be attached.
    fn try_attach(&self, ebpf: &mut Ebpf) -> Vec<HookStatus> {
        attach::Attacher::new(ebpf, &self.offsets).all(self.want)
    }

    /// Whether a run must not go on without this hook.
    fn requires(&self, status: &HookStatus) -> bool {
        let by_name = matches!(self.want, ConnectHook::Fentry | ConnectHook::Kprobe);
        status.required() || (by_name && status.hook == attach::CONNECT_V4)
    }
}

/// Finds out which hooks this kernel and these privileges allow: attaches them
/// for a moment. `object` is the ELF object of the kernel programs.
pub fn check(want: ConnectHook, object: &[u8]) -> Vec<HookStatus> {
    let plan = match Plan::new(Path::new(KERNEL_BTF), want) {
        Ok(plan) => plan,
        Err(exit) => return attach::none(&exit.to_string()),
    };
    let mut loader = EbpfLoader::new();
    plan.globals(&mut loader);
    let mut ebpf = match loader.load(object) {
        Ok(ebpf) => ebpf,
        Err(error) => return attach::none(&format!("load kernel object: {error}")),
    };
    plan.try_attach(&mut ebpf)
}
