//! Many dials at once.

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::kernel;

use crate::{
    DIALS,
    bed::{Bed, FAR_V4, FAR_V6, LIMIT, counts, port},
};

#[test]
fn vm_dials_at_once_are_each_counted() -> Result<()> {
    each_is_counted("auto")
}

/// A kretprobe fires for a few calls at once alone, and says nothing of the others.
#[test]
fn vm_dials_at_once_are_each_counted_by_kprobe() -> Result<()> {
    if !kernel::has_probes() {
        println!("skipped: this kernel has no kprobes");
        return Ok(());
    }
    each_is_counted("kprobe")
}

fn each_is_counted(hook: &str) -> Result<()> {
    const THREADS: u64 = 8;
    const EACH: u64 = 100;
    let bed = Bed::new()?;
    let tracer = bed.trace(&["--connect-hook", hook])?;
    let work = || -> Result<()> {
        for _ in 0..EACH {
            bed.dial(FAR_V4, port::OPEN).stream()?;
            bed.fails(FAR_V6, port::CLOSED, Errno::ECONNREFUSED)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let ends = [(port::OPEN, "established"), (port::CLOSED, "refused")];
    let all = ends.map(|(port, word)| ((port, word.to_owned()), THREADS * EACH));
    let skipped = kernel::skipped(tracer.process().pid())?;
    let found = counts(&tracer.metrics()?, DIALS, "outcome");
    if skipped == 0 || kernel::version()? < (7, 0) {
        assert_eq!(found, all.into(), "programs were skipped {skipped} times");
        return Ok(());
    }
    // Tracepoints can be preempted there, and the kernel runs no program inside
    // itself on a CPU: the daemon has to say how often, and counts no dial twice.
    tracer.metrics_when(LIMIT, "nothing is said of it", |metrics| {
        metrics.sum("tracer_hook_misses_total", &[]) >= skipped as f64
    })?;
    let missing = 2 * THREADS * EACH - found.values().sum::<u64>();
    ensure!(
        missing <= skipped,
        "{missing} missing, skipped {skipped} times: {found:?}"
    );
    Ok(())
}
