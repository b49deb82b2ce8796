//! Loss at random, by netem, which the build machines' kernel lacks.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use testbed::{process::poll_until, seen};

use crate::{
    RETRANSMITS,
    bed::{Bed, FAR_V4, LIMIT, counts, port},
};

const DIALS: usize = 24;

/// Bytes written and not acknowledged.
fn unacknowledged(stream: &std::net::TcpStream) -> Result<i32> {
    use std::os::fd::AsRawFd as _;
    let mut bytes = 0;
    // SAFETY: SIOCOUTQ (tcp(7)) writes one int; `bytes` is one.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(bytes)
}

#[test]
fn vm_retransmissions_under_random_loss() -> Result<()> {
    if std::env::var_os("TRACER_GUEST").is_none() {
        println!("skipped: this kernel has no netem; runs in guests");
        return Ok(());
    }
    let bed = Bed::new()?;
    bed.node.sysctls(&[("net/ipv4/tcp_syn_retries", "6")])?;
    let tracer = bed.trace(&[])?;
    let netem = ["qdisc", "add", "dev", "e0", "root", "netem", "loss", "25%"];
    bed.node.run(&[&["tc"], &netem[..]].concat())?;
    let mut made = 0;
    for _ in 0..DIALS {
        // What takes too long counts all the same.
        let Ok(mut stream) = bed.dial(FAR_V4, port::OPEN).limit(6 * LIMIT).stream() else {
            continue;
        };
        made += 1;
        stream.write_all(b"lost now and then")?;
        poll_until(6 * LIMIT, "not acknowledged", || {
            Ok((unacknowledged(&stream)? == 0).then_some(()))
        })?;
        // No FIN, which the kernel would count as it is sent again.
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&stream, sockopt::Linger, &linger).context("SO_LINGER")?;
    }
    ensure!(made > DIALS / 2, "{made} of {DIALS} dials came through");
    // Of 48 segments each fourth was lost: that none was has a chance of 1 in a million.
    let kernel = bed.node.counter("Tcp", "RetransSegs")?;
    ensure!(kernel > 0, "nothing was lost");
    let found = counts(&tracer.metrics()?, RETRANSMITS, "kind");
    let ours = |kind: &str| found.get(&(port::OPEN, kind.to_owned())).copied();
    let sum = ours("syn").unwrap_or(0) + ours("data").unwrap_or(0);
    ensure!(
        sum == kernel,
        "{sum} counted, the kernel's {kernel}: {found:?}"
    );
    seen::right(&["tcp_retransmit_skb"])
}
