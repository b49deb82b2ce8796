//! TCP servers of every temper.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt,
};

use crate::{netns::Netns, peer::client::reset_on_close};

/// What the server does with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Sends back what it reads until the peer closes.
    Echo,
    /// The same, this long after it has read.
    EchoAfter(Duration),
    /// Reads until the peer closes.
    Sink,
    /// Sends these bytes after each read.
    Reply(Vec<u8>),
    /// Sends these bytes after the first read, then closes.
    ReplyOnce(Vec<u8>),
    /// Sends these bytes once some have come, and closes without reading those.
    ReplyUnread(Vec<u8>),
    /// Sends a line this often, asked or not, and reads nothing.
    Push(Duration),
    /// Accepts and closes (FIN).
    Close,
    /// Accepts and resets (SO_LINGER 0).
    Reset,
    /// Accepts, waits for bytes and closes without reading them, which resets.
    CloseUnread,
    /// Accepts and neither reads nor closes.
    Stall,
    /// Listens and never accepts.
    NeverAccept,
}

/// A listener and its threads; ends on drop.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens at `address` in `ns` with a backlog of 1024; one thread per
    /// connection.
    pub fn start(ns: &Netns, address: impl Into<SocketAddr>, behaviour: Behaviour) -> Result<Self> {
        Self::start_with(ns, address, behaviour, 1024, 0)
    }

    /// Listens with `backlog` (the kernel holds one more than that). With
    /// `workers` above 0 that many threads serve one connection after the
    /// other instead of one thread per connection.
    pub fn start_with(
        ns: &Netns,
        address: impl Into<SocketAddr>,
        behaviour: Behaviour,
        backlog: i32,
        workers: usize,
    ) -> Result<Self> {
        let address = address.into();
        let socket = ns.enter(|| listen(address, backlog))?;
        let listener = TcpListener::from(socket.with_context(|| format!("listen at {address}"))?);
        let mut server = Self {
            listener,
            stop: Arc::default(),
            accepted: Arc::default(),
            acceptors: Vec::new(),
        };
        let threads = match behaviour {
            Behaviour::NeverAccept => 0,
            _ => workers.max(1),
        };
        for _ in 0..threads {
            let listener = server.listener.try_clone().context("share the listener")?;
            let (stop, accepted) = (server.stop.clone(), server.accepted.clone());
            let behaviour = Arc::new(behaviour.clone());
            let inline = workers > 0;
            server.acceptors.push(std::thread::spawn(move || {
                accept_loop(&listener, &behaviour, &stop, &accepted, inline);
            }));
        }
        Ok(server)
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The address it listens at.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("local address")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes accept(2) with EINVAL in every acceptor.
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        for thread in self.acceptors.drain(..) {
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr, backlog: i32) -> Result<OwnedFd> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).context("bind")?;
    // nix refuses more than the C library's SOMAXCONN, which is 128 in musl.
    // SAFETY: a system call on a descriptor that is open here; no memory.
    let listened = unsafe { libc::listen(fd.as_raw_fd(), backlog) };
    Errno::result(listened).context("listen")?;
    Ok(fd)
}

fn accept_loop(
    listener: &TcpListener,
    behaviour: &Arc<Behaviour>,
    stop: &Arc<AtomicBool>,
    accepted: &AtomicU64,
    inline: bool,
) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        let (behaviour, stop) = (behaviour.clone(), stop.clone());
        if inline {
            serve(stream, &behaviour, &stop);
        } else {
            // A failed spawn drops the stream: the peer sees a close.
            let small = std::thread::Builder::new().stack_size(128 * 1024);
            let _ = small.spawn(move || serve(stream, &behaviour, &stop));
        }
    }
}

/// Until the peer is gone, which the second line after that tells.
fn push(mut stream: &TcpStream, pause: Duration, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) && stream.write_all(b"news\n").is_ok() {
        std::thread::sleep(pause);
    }
}

fn serve(mut stream: TcpStream, behaviour: &Behaviour, stop: &AtomicBool) {
    match behaviour {
        Behaviour::Close => return,
        Behaviour::Reset => return reset_on_close(&stream).unwrap_or(()),
        _ => {}
    }
    if let Behaviour::Push(pause) = behaviour {
        return push(&stream, *pause, stop);
    }
    // So that a silent peer does not hold the thread when the server ends.
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    if let Behaviour::CloseUnread | Behaviour::ReplyUnread(_) = behaviour {
        // Closed after that, whether bytes have come or not.
        let came = stream.peek(&mut [0]);
        if let (Behaviour::ReplyUnread(bytes), Ok(_)) = (behaviour, came) {
            // A peer that has gone needs none.
            let _ = stream.write_all(bytes);
        }
        return;
    }
    let mut buffer = [0u8; 16 * 1024];
    while !stop.load(Ordering::Relaxed) {
        if *behaviour == Behaviour::Stall {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let size = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(size) => size,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) => return,
        };
        if let Behaviour::EchoAfter(delay) = behaviour {
            std::thread::sleep(*delay);
        }
        let answer = match behaviour {
            Behaviour::Echo | Behaviour::EchoAfter(_) => &buffer[..size],
            Behaviour::Reply(bytes) | Behaviour::ReplyOnce(bytes) => bytes,
            _ => continue,
        };
        if stream.write_all(answer).is_err() || matches!(behaviour, Behaviour::ReplyOnce(_)) {
            let _ = stream.shutdown(Shutdown::Write);
            return;
        }
    }
}
