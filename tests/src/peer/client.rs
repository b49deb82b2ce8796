//! What clients and probes do, each from a namespace to an address.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt},
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::netns::Netns;

/// A dial from a namespace to an address.
#[derive(Debug, Clone, Copy)]
pub struct Dial<'a> {
    ns: &'a Netns,
    to: SocketAddr,
    from: Option<SocketAddr>,
    limit: Duration,
}

impl<'a> Dial<'a> {
    /// Dials `to` from any address and port, for at most 3 s.
    #[must_use]
    pub fn new(ns: &'a Netns, to: impl Into<SocketAddr>) -> Self {
        Self {
            ns,
            to: to.into(),
            from: None,
            limit: Duration::from_secs(3),
        }
    }

    /// Binds the source; port 0 leaves the port to the kernel.
    #[must_use]
    pub fn from(mut self, from: impl Into<SocketAddr>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// Sets how long the handshake and each reply may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Connects. `Err` holds the kernel's word: `ECONNREFUSED` for a RST or
    /// ICMP port unreachable, `EINPROGRESS` for no answer within the limit.
    pub fn connect(&self) -> Result<std::result::Result<TcpStream, Errno>> {
        self.ns.enter(|| {
            let family = match self.to {
                SocketAddr::V4(_) => AddressFamily::Inet,
                SocketAddr::V6(_) => AddressFamily::Inet6,
            };
            let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            let millis = i64::try_from(self.limit.as_millis())?;
            // Linux bounds connect(2) by the send timeout, see socket(7).
            setsockopt(&fd, sockopt::SendTimeout, &TimeVal::milliseconds(millis))?;
            setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(millis))?;
            if let Some(from) = self.from {
                setsockopt(&fd, sockopt::ReuseAddr, &true)?;
                socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).context("bind")?;
            }
            Ok(dial(fd, self.to))
        })?
    }

    /// [`Dial::connect`] where failure is an error.
    pub fn stream(&self) -> Result<TcpStream> {
        self.connect()?
            .with_context(|| format!("connect to {}", self.to))
    }

    /// Connects and closes (FIN): a probe.
    pub fn connect_fin(&self) -> Result<()> {
        self.stream().map(drop)
    }

    /// Connects and resets: a probe.
    pub fn connect_rst(&self) -> Result<()> {
        reset_on_close(&self.stream()?)
    }

    /// Connects, stays silent for `time`, closes.
    pub fn idle(&self, time: Duration) -> Result<()> {
        let stream = self.stream()?;
        std::thread::sleep(time);
        drop(stream);
        Ok(())
    }

    /// Connects, stays silent for `time`, sends `bytes`, reads an answer and
    /// closes: a pooled connection that is used at last.
    pub fn idle_then(&self, time: Duration, bytes: &[u8]) -> Result<Vec<u8>> {
        let stream = self.stream()?;
        std::thread::sleep(time);
        converse(stream, &[bytes], Duration::ZERO)
    }

    /// Connects, sends the chunks as segments of their own (50 ms apart,
    /// `TCP_NODELAY`), closes its side and reads until the peer closes.
    pub fn send(&self, chunks: &[&[u8]]) -> Result<Vec<u8>> {
        converse(self.stream()?, chunks, Duration::from_millis(50))
    }

    /// One short connection: connect, request, wait for the reply, close.
    pub fn call(&self, request: &[u8], reply: &mut [u8]) -> Result<()> {
        let mut stream = self.stream()?;
        stream.write_all(request).context("send the request")?;
        stream.read_exact(reply).context("read the reply")
    }
}

fn dial(fd: OwnedFd, to: SocketAddr) -> std::result::Result<TcpStream, Errno> {
    socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(fd))
}

/// Sends `chunks`, then FIN; returns what came back before the peer closed, fell
/// silent or reset.
fn converse(mut stream: TcpStream, chunks: &[&[u8]], pause: Duration) -> Result<Vec<u8>> {
    stream.set_nodelay(true).context("TCP_NODELAY")?;
    for (i, chunk) in chunks.iter().enumerate() {
        if i > 0 {
            std::thread::sleep(pause);
        }
        stream.write_all(chunk).context("send")?;
    }
    stream.shutdown(Shutdown::Write).context("close our side")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => {
            Ok(answer)
        }
        Err(e) => Err(e).context("read the answer"),
    }
}

/// Makes the coming close of `socket` a RST (`SO_LINGER` with 0 s).
pub(crate) fn reset_on_close(socket: &impl AsFd) -> Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(socket, sockopt::Linger, &linger).context("SO_LINGER")
}
