//! The kernel's own run-time statistics of the daemon's programs, beside empty programs at the
//! same hooks.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use nix::net::if_::if_nametoindex;
use testbed::Netns;

use super::bpf::Empty;

/// Run time and runs of a program since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    time_ns: u64,
    runs: u64,
}

impl Counts {
    /// Reads a program's fdinfo (`bpf_prog_show_fdinfo`).
    pub(super) fn parse(info: &BTreeMap<String, String>) -> Result<Self> {
        let number = |key: &str| -> Result<u64> {
            let value = info.get(key).with_context(|| format!("no {key}"))?;
            value.parse().with_context(|| format!("{key} {value}"))
        };
        Ok(Self {
            time_ns: number("run_time_ns")?,
            runs: number("run_cnt")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            time_ns: self.time_ns - before.time_ns,
            runs: self.runs - before.runs,
        }
    }

    /// Mean run time, ns.
    pub(super) fn ns_per_run(self) -> f64 {
        self.time_ns as f64 / self.runs as f64
    }
}

/// The lines of `/proc/PID/fdinfo/FD`, by name.
pub(super) fn fdinfo_of(pid: &str, fd: &str) -> Result<BTreeMap<String, String>> {
    let path = format!("/proc/{pid}/fdinfo/{fd}");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect())
}

/// Ids of the programs that a process holds, with the descriptor.
pub(super) fn program_ids(pid: i32) -> Result<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    let dir = format!("/proc/{pid}/fdinfo");
    for entry in fs::read_dir(&dir).with_context(|| format!("read {dir}"))? {
        let fd = entry?.file_name().to_string_lossy().into_owned();
        // A descriptor may be closed in between, like that of a scrape.
        let Ok(info) = fdinfo_of(&pid.to_string(), &fd) else {
            continue;
        };
        let id = info.get("prog_id").and_then(|id| id.parse().ok());
        if let Some(id) = id.filter(|_| info.contains_key("run_cnt")) {
            found.insert(id, fd);
        }
    }
    Ok(found)
}

/// Which empty program stands beside a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    In,
    Out,
    Packet,
    Queue,
    Drop,
    Tracepoint,
}

fn hook_of(name: &str) -> Hook {
    match name {
        _ if name.starts_with("wire_in") => Hook::In,
        _ if name.starts_with("wire_out") => Hook::Out,
        _ if name.starts_with("wire_packet") => Hook::Packet,
        _ if name.starts_with("dev_queue") => Hook::Queue,
        _ if name.starts_with("drop_skb") => Hook::Drop,
        _ => Hook::Tracepoint,
    }
}

struct Program {
    name: String,
    fd: String,
    hook: Hook,
}

/// The daemon's programs and the empty ones, with the kernel's statistics switched on. They are
/// switched off when this is dropped, or when the process ends however it ends: the kernel counts
/// the open descriptors of `BPF_ENABLE_STATS`.
pub(super) struct Meter {
    pid: i32,
    programs: Vec<Program>,
    empties: Vec<(Hook, Empty)>,
    _stats: OwnedFd,
}

impl Meter {
    /// Puts the empty programs on `interface` of `node` and looks up the programs of the daemon.
    ///
    /// # Errors
    /// The kernel refuses, or the process holds no programs.
    pub(super) fn start(node: &Netns, interface: &str, pid: i32) -> Result<Self> {
        let fds = program_ids(pid)?;
        let mut programs = Vec::new();
        for program in loaded_programs() {
            // Others come and go: a program of theirs may have gone since its id was read.
            let Ok(program) = program else { continue };
            if let Some(fd) = fds.get(&program.id()) {
                let name = program.name_as_str().unwrap_or("?").to_owned();
                let hook = hook_of(&name);
                let fd = fd.clone();
                programs.push(Program { name, fd, hook });
            }
        }
        ensure!(!programs.is_empty(), "process {pid} holds no programs");
        let tcx = programs.iter().any(|program| program.hook == Hook::In);
        let mut empties = node.enter(|| -> Result<_> {
            let index = if_nametoindex(interface).context("interface index")?;
            if !tcx {
                return Ok(vec![(Hook::Packet, Empty::packet(index)?)]);
            }
            Ok(vec![
                (Hook::In, Empty::tcx(index, true)?),
                (Hook::Out, Empty::tcx(index, false)?),
            ])
        })??;
        for (hook, tracepoint) in [
            (Hook::Queue, c"net_dev_queue"),
            (Hook::Drop, c"kfree_skb"),
            (Hook::Tracepoint, c"inet_sock_set_state"),
        ] {
            empties.push((hook, Empty::tracepoint(tracepoint, 0)?));
        }
        Ok(Self {
            pid,
            programs,
            empties,
            _stats: enable_stats(Stats::RunTime).context("switch on the run-time statistics")?,
        })
    }

    fn read(&self) -> Result<(Vec<Counts>, Vec<Counts>)> {
        let pid = self.pid.to_string();
        let own = |program: &Program| Counts::parse(&fdinfo_of(&pid, &program.fd)?);
        let programs = self.programs.iter().map(own).collect::<Result<_>>()?;
        let empties = self.empties.iter().map(|(_, empty)| empty.counts());
        Ok((programs, empties.collect::<Result<_>>()?))
    }

    /// What the programs used while `work` ran, those that ran at all.
    pub(super) fn measure(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Use>> {
        let (programs_before, empties_before) = self.read()?;
        work()?;
        let (programs_after, empties_after) = self.read()?;
        let empties: Vec<Counts> = empties_after
            .into_iter()
            .zip(empties_before)
            .map(|(after, before)| match after.since(before) {
                // Another tracepoint than that of the empty program: its cost so far, then.
                Counts { runs: 0, .. } => after,
                round => round,
            })
            .collect();
        let mut uses = Vec::new();
        for (i, program) in self.programs.iter().enumerate() {
            let counts = programs_after[i].since(programs_before[i]);
            if counts.runs == 0 {
                continue;
            }
            let position = self.empties.iter().position(|e| e.0 == program.hook);
            let empty = empties[position.context("a hook without empty program")?];
            ensure!(
                empty.runs > 0,
                "the empty program beside {} did not run",
                program.name
            );
            uses.push(Use {
                program: program.name.clone(),
                runs: counts.runs,
                gross_ns: counts.ns_per_run(),
                empty_ns: empty.ns_per_run(),
            });
        }
        Ok(uses)
    }
}

/// What one program used.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// The program, as the kernel names it (15 characters).
    pub(super) program: String,
    /// How often it ran.
    pub(super) runs: u64,
    /// Mean run time, ns, the statistics' own cost included.
    pub(super) gross_ns: f64,
    /// Mean run time of the empty program at the same hook, ns.
    pub(super) empty_ns: f64,
}

impl Use {
    /// Mean run time less that of the empty program, ns.
    pub(super) fn net_ns(&self) -> f64 {
        self.gross_ns - self.empty_ns
    }

    /// Sum of [`Use::net_ns`] over all runs.
    pub(super) fn total_ns(&self) -> f64 {
        self.net_ns() * self.runs as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_differences_of_fdinfo() {
        let info = |time: u64, runs: u64| {
            BTreeMap::from([
                ("run_time_ns".to_owned(), time.to_string()),
                ("run_cnt".to_owned(), runs.to_string()),
            ])
        };
        let before = Counts::parse(&info(100, 2)).unwrap();
        let after = Counts::parse(&info(700, 5)).unwrap();
        assert_eq!(after.since(before).ns_per_run(), 200.0);
        assert!(Counts::parse(&BTreeMap::new()).is_err());
    }
}
