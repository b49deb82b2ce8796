//! Peers behind a TUN device: a thread in place of a kernel, so that nothing on
//! this machine drops, answers or repeats what they do not.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use crate::{
    netns::Netns,
    segment::{Parsed, Segment, flags, parse},
};

const DEVICE: &str = "tun-peer";
const POLL: Duration = Duration::from_millis(5);

/// The device and its thread; both go on drop.
#[derive(Debug)]
pub struct TunPeer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TunPeer {
    /// Routes `network` (`10.250.0.0/24`) in `node` to a device behind which
    /// every first SYN of a connection is answered with a SYN-ACK after
    /// `delay`; a retransmitted one is not answered again.
    pub fn late(node: &Netns, network: &str, delay: Duration) -> Result<Self> {
        Self::start(node, &[network], Some(delay))
    }

    /// Routes `networks` in `ns` to a device that swallows what comes. The
    /// namespace has to forward.
    pub fn silent(ns: &Netns, networks: &[&str]) -> Result<Self> {
        Self::start(ns, networks, None)
    }

    fn start(ns: &Netns, networks: &[&str], delay: Option<Duration>) -> Result<Self> {
        let device = ns.enter(tun)?.context("make a TUN device")?;
        let mut batch = format!("link set {DEVICE} up\n");
        for network in networks {
            batch.push_str(&format!("route add {network} dev {DEVICE}\n"));
        }
        ns.ip(&batch)?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || serve(&device, delay, &stopped));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for TunPeer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tun() -> Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("/dev/net/tun")?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(DEVICE.bytes()) {
        *to = libc::c_char::try_from(from)?;
    }
    let flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    let number = libc::TUNSETIFF as libc::Ioctl;
    // SAFETY: the pointer is to one live ifreq, which TUNSETIFF reads and writes.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), number, &raw const request) };
    Errno::result(made).context("TUNSETIFF")?;
    // SAFETY: a system call on a descriptor that is open here; no memory.
    let set = unsafe { libc::fcntl(device.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    Errno::result(set).context("O_NONBLOCK")?;
    Ok(device)
}

/// Takes packets until told to stop, or until the device goes with its
/// namespace.
fn serve(mut device: &File, delay: Option<Duration>, stop: &AtomicBool) {
    let mut seen: Vec<(Instant, Parsed)> = Vec::new();
    let mut answered = 0;
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match device.read(&mut buffer) {
            Ok(size) => {
                let syn = parse(&buffer[..size]).filter(|s| s.flags & !0xc0 == flags::SYN);
                let is_new = |syn: &Parsed| !seen.iter().any(|(_, s)| s.src == syn.src);
                seen.extend(syn.filter(is_new).map(|syn| (Instant::now(), syn)));
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(POLL),
            Err(_) => return,
        }
        let is_due = |at: &Instant| delay.is_some_and(|delay| at.elapsed() >= delay);
        while let Some((_, syn)) = seen.get(answered).filter(|(at, _)| is_due(at)) {
            let mut reply = Segment::syn(syn.dst, syn.src, 1);
            reply.flags |= flags::ACK;
            reply.ack = syn.seq.wrapping_add(1);
            let _ = device.write(&reply.ip_bytes());
            answered += 1;
        }
    }
}
