//! Programs that the kernel did not run.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Ebpf, programs::Program};

/// How often the kernel has left a program out because it was running on that
/// CPU already (`recursion_misses` of `struct bpf_prog_info`, from 5.12): an
/// interrupt came, or from 7.0 on, where tracepoints can be preempted, another
/// thread. It counts for itself; nobody has to look in time.
pub fn misses(ebpf: &Ebpf) -> u64 {
    ebpf.programs().filter_map(|(_, program)| of(program)).sum()
}

/// `None` when it is not loaded, or the kernel does not tell.
fn of(program: &Program) -> Option<u64> {
    let fd = program.fd().ok()?.as_fd().as_raw_fd();
    parse(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
}

fn parse(fdinfo: &str) -> Option<u64> {
    let mut lines = fdinfo.lines();
    let value = lines.find_map(|line| line.strip_prefix("recursion_misses:"))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_of_a_program() {
        let text = "prog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\nverified_insns:\t9\n";
        assert_eq!(parse(text), Some(12));
        // Before 5.12.
        assert_eq!(parse("prog_type:\t26\n"), None);
    }
}
