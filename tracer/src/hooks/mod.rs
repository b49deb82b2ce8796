//! The socket hooks: where their programs find kernel structs, which of them
//! this kernel allows, and attaching them in the best mode it has.

mod attach;
pub mod btf;
mod offsets;

use anyhow::{Context as _, bail};
use aya::{Ebpf, EbpfLoader};

pub use self::attach::none;
use crate::{
    config::{Config, ConnectHook, TracepointHook},
    snapshot::HookStatus,
};

/// The kernel's own type information (CONFIG_DEBUG_INFO_BTF).
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel's types, 6 MB: to be dropped soon.
///
/// # Errors
/// When the kernel has none, or they cannot be understood.
pub fn kernel_types() -> anyhow::Result<btf::Btf> {
    let blob = std::fs::read(KERNEL_BTF).with_context(|| {
        format!("read {KERNEL_BTF} (needs a kernel with CONFIG_DEBUG_INFO_BTF=y)")
    })?;
    btf::Btf::parse(blob).with_context(|| format!("understand {KERNEL_BTF}"))
}

/// What the programs must know before they are verified, and what to attach.
#[derive(Debug)]
pub struct Plan {
    offsets: offsets::Offsets,
    want: Want,
}

/// The modes that the operator wants.
#[derive(Clone, Copy, Debug)]
struct Want {
    connect: ConnectHook,
    tracepoints: TracepointHook,
}

impl Plan {
    /// Resolves struct offsets from the running kernel's BTF.
    ///
    /// # Errors
    /// When there is none, or a required hook misses a member, which is named
    /// as `struct.member`: this kernel cannot do it.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let want = Want {
            connect: config.connect_hook,
            tracepoints: config.tracepoint_hook,
        };
        let offsets = offsets::Offsets::resolve(&kernel_types()?)?;
        Ok(Self { offsets, want })
    }

    /// Sets the programs' globals.
    pub fn globals<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        for (name, offset) in &self.offsets.values {
            loader.override_global(name, offset, true);
        }
        for (name, has) in &self.offsets.arguments {
            loader.override_global(name, has, true);
        }
    }

    /// Loads and attaches the programs; they stay attached as long as `ebpf` lives.
    ///
    /// # Errors
    /// When a required hook, or the connect hook that was asked for by name,
    /// cannot be attached. The others degrade; their status says why.
    pub fn attach(&self, ebpf: &mut Ebpf) -> anyhow::Result<Vec<HookStatus>> {
        let hooks = self.try_attach(ebpf);
        let missing = hooks
            .iter()
            .find(|hook| !hook.attached && self.requires(hook));
        if let Some(HookStatus { hook, detail, .. }) = missing {
            bail!("attach to {hook}: {detail}");
        }
        Ok(hooks)
    }

    /// Attaches what can be attached.
    pub fn try_attach(&self, ebpf: &mut Ebpf) -> Vec<HookStatus> {
        attach::Attacher::new(ebpf, &self.offsets).all(self.want)
    }

    /// Whether a run must not go on without this hook.
    fn requires(&self, status: &HookStatus) -> bool {
        let by_name = matches!(self.want.connect, ConnectHook::Fentry | ConnectHook::Kprobe);
        status.required() || (by_name && status.hook == attach::CONNECT_V4)
    }
}
