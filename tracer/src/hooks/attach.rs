//! Attaches each hook in the best mode that the kernel has.

use anyhow::{Context as _, Error, Result, anyhow};
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint},
};

use super::{Want, offsets::Offsets};
use crate::{
    config::{ConnectHook, TracepointHook},
    snapshot::{HookStatus, SOCKET_STATE},
};

/// The function that IPv4 dials pass.
pub const CONNECT_V4: &str = "tcp_v4_connect";
const CONNECT_V6: &str = "tcp_v6_connect";

/// A tracepoint and its programs with and without BTF.
struct TracePoint {
    hook: &'static str,
    /// The first that the verifier accepts; with how it reads, where that is a
    /// question.
    tp_btf: &'static [(&'static str, &'static str)],
    raw_tp: &'static str,
}

const TRACE_POINTS: [TracePoint; 7] = [
    TracePoint {
        hook: SOCKET_STATE,
        tp_btf: &[("set_state", "")],
        raw_tp: "set_state_raw",
    },
    TracePoint {
        hook: "tcp_send_reset",
        tp_btf: &[("send_reset", "")],
        raw_tp: "send_reset_raw",
    },
    TracePoint {
        hook: "tcp_receive_reset",
        tp_btf: &[("receive_reset", "")],
        raw_tp: "receive_reset_raw",
    },
    TracePoint {
        hook: "tcp_retransmit_skb",
        tp_btf: &[("retransmit_skb", "")],
        raw_tp: "retransmit_raw",
    },
    TracePoint {
        hook: "tcp_retransmit_synack",
        tp_btf: &[("retrans_synack", "")],
        raw_tp: "synack_raw",
    },
    TracePoint {
        hook: "net_dev_queue",
        tp_btf: &[
            ("dev_queue_direct", "direct load"),
            ("dev_queue", "bpf_probe_read_kernel"),
        ],
        raw_tp: "dev_queue_raw",
    },
    TracePoint {
        hook: "kfree_skb",
        tp_btf: &[("drop_skb", "")],
        raw_tp: "drop_skb_raw",
    },
];

/// A connect function and its programs.
struct Function {
    hook: &'static str,
    fentry: &'static str,
    fexit: &'static str,
}

const FUNCTIONS: [Function; 2] = [
    Function {
        hook: CONNECT_V4,
        fentry: "connect4_enter",
        fexit: "connect4_exit",
    },
    Function {
        hook: CONNECT_V6,
        fentry: "connect6_enter",
        fexit: "connect6_exit",
    },
];
/// The programs at both functions where there is no fentry.
const KPROBE: &str = "connect_enter";
const KRETPROBE: &str = "connect_exit";

const WITHOUT_CONNECT: &str = "dials that fail before a SYN is sent are not counted";

/// All hooks absent for one reason.
pub fn none(why: &str) -> Vec<HookStatus> {
    let hooks = TRACE_POINTS.iter().map(|point| point.hook);
    hooks
        .chain(FUNCTIONS.iter().map(|function| function.hook))
        .map(|hook| absent(hook, why))
        .collect()
}

fn absent(hook: &'static str, why: &str) -> HookStatus {
    HookStatus {
        hook,
        mode: "none",
        attached: false,
        detail: why.into(),
    }
}

fn attached(hook: &'static str, mode: &'static str, detail: &str) -> HookStatus {
    HookStatus {
        hook,
        mode,
        attached: true,
        detail: detail.into(),
    }
}

/// The loaded object, and what is known about the kernel.
pub struct Attacher<'a> {
    ebpf: &'a mut Ebpf,
    offsets: &'a Offsets,
    btf: Result<Btf, String>,
}

impl<'a> Attacher<'a> {
    /// Reads the kernel's BTF, which tp_btf and fentry need by id.
    pub fn new(ebpf: &'a mut Ebpf, offsets: &'a Offsets) -> Self {
        let btf = Btf::from_sys_fs().map_err(|error| one_line(&error.into()));
        Self { ebpf, offsets, btf }
    }

    /// Attaches all hooks, the connect functions last: what they mark, the
    /// state hook must see.
    pub fn all(&mut self, want: Want) -> Vec<HookStatus> {
        let points = TRACE_POINTS.iter();
        let mut hooks: Vec<_> = points
            .map(|point| self.trace_point(point, want.tracepoints))
            .collect();
        let functions = FUNCTIONS.iter();
        hooks.extend(functions.map(|function| self.function(function, want.connect)));
        hooks
    }

    fn trace_point(&mut self, point: &TracePoint, want: TracepointHook) -> HookStatus {
        let hook = point.hook;
        if let Some(why) = self.offsets.disabled(hook) {
            return absent(hook, why);
        }
        let mut reasons = Vec::new();
        if matches!(want, TracepointHook::Auto | TracepointHook::TpBtf) {
            match self.tp_btf(point) {
                Ok(detail) => return attached(hook, "tp_btf", &detail),
                Err(error) => reasons.push(format!("tp_btf: {}", one_line(&error))),
            }
        }
        if matches!(want, TracepointHook::Auto | TracepointHook::RawTp) {
            match self.raw_tp(point) {
                Ok(()) => return attached(hook, "raw_tp", &reasons.join("; ")),
                Err(error) => reasons.push(format!("raw_tp: {}", one_line(&error))),
            }
        }
        absent(hook, &reasons.join("; "))
    }

    fn function(&mut self, function: &Function, want: ConnectHook) -> HookStatus {
        let hook = function.hook;
        if let Some(why) = self.offsets.disabled(hook) {
            return absent(hook, why);
        }
        let mut reasons = Vec::new();
        if matches!(want, ConnectHook::Auto | ConnectHook::Fentry) {
            match self.fentry(function) {
                Ok(()) => return attached(hook, "fentry", ""),
                Err(error) => reasons.push(format!("fentry: {}", one_line(&error))),
            }
        }
        if matches!(want, ConnectHook::Auto | ConnectHook::Kprobe) {
            match self.kprobe(hook) {
                Ok(()) => return attached(hook, "kprobe", &reasons.join("; ")),
                Err(error) => reasons.push(format!("kprobe: {}", one_line(&error))),
            }
        }
        if matches!(want, ConnectHook::Auto | ConnectHook::SetState) {
            reasons.push(WITHOUT_CONNECT.into());
        }
        absent(hook, &reasons.join("; "))
    }

    /// Returns how the program reads, where that is a question, and why no better.
    fn tp_btf(&mut self, point: &TracePoint) -> Result<String> {
        let btf = self.btf.as_ref().map_err(|why| anyhow!("{why}"))?;
        let mut refused = None;
        for (name, reads) in point.tp_btf {
            let program: &mut BtfTracePoint = program(self.ebpf, name)?;
            if let Err(error) = program.load(point.hook, btf) {
                refused = Some(Error::from(error));
                continue;
            }
            if let Err(error) = program.attach() {
                program.unload()?;
                return Err(error.into());
            }
            let instead = refused.map(|error| format!("; {name} instead: {}", one_line(&error)));
            return Ok(format!("{reads}{}", instead.unwrap_or_default()));
        }
        Err(refused.unwrap_or_else(|| anyhow!("no program")))
    }

    fn raw_tp(&mut self, point: &TracePoint) -> Result<()> {
        let program: &mut RawTracePoint = program(self.ebpf, point.raw_tp)?;
        program.load()?;
        program.attach(point.hook)?;
        Ok(())
    }

    /// The exit comes first: without it, a mark made at the entry would stay.
    fn fentry(&mut self, function: &Function) -> Result<()> {
        let btf = self.btf.as_ref().map_err(|why| anyhow!("{why}"))?;
        let exit: &mut FExit = program(self.ebpf, function.fexit)?;
        exit.load(function.hook, btf)?;
        exit.attach()?;
        let entry: &mut FEntry = program(self.ebpf, function.fentry)?;
        entry
            .load(function.hook, btf)
            .and_then(|()| entry.attach())
            .map(drop)
            .or_else(|error| {
                let exit: &mut FExit = program(self.ebpf, function.fexit)?;
                exit.unload()?;
                Err(error.into())
            })
    }

    /// The exit comes first, as above; left alone, it finds no mark and does nothing.
    fn kprobe(&mut self, function: &str) -> Result<()> {
        for name in [KRETPROBE, KPROBE] {
            let program: &mut KProbe = program(self.ebpf, name)?;
            match program.load() {
                // One program serves both functions.
                Ok(()) | Err(ProgramError::AlreadyLoaded) => program.attach(function, 0)?,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(())
    }
}

/// The program of this name and kind.
fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name} in the object"))?;
    program
        .try_into()
        .with_context(|| format!("program {name}"))
}

/// An error with its chain; of a verifier's log the last line that says why.
fn one_line(error: &Error) -> String {
    if let Some(ProgramError::LoadError {
        io_error,
        verifier_log,
    }) = error.downcast_ref()
    {
        let log = verifier_log.to_string();
        let mut said = log.lines().map(str::trim).filter(|line| !line.is_empty());
        let sums = ["processed ", "stack depth ", "verification time "];
        return match said.rfind(|line| !sums.iter().any(|sum| line.starts_with(sum))) {
            Some(line) => format!("load: {io_error} ({line})"),
            None => format!("load: {io_error}"),
        };
    }
    format!("{error:#}")
}
