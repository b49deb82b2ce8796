//! Where connections come from.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use crate::exit::Exit;

/// Takes the address, so that a port in use is reported before anything is
/// loaded.
///
/// # Errors
/// [`crate::exit::Code::Runtime`] when it is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Exit> {
    TcpListener::bind(address).await.map_err(|e| {
        let (cause, remedy) = match e.kind() {
            io::ErrorKind::AddrInUse => (
                "address in use",
                "stop the other process or choose --web.listen-address",
            ),
            io::ErrorKind::AddrNotAvailable => (
                "no such address on this node",
                "choose --web.listen-address",
            ),
            io::ErrorKind::PermissionDenied => (
                "not permitted",
                "choose --web.listen-address with a port from 1024 on",
            ),
            _ => return Exit::runtime(format!("listen on {address}"), e),
        };
        Exit::runtime(format!("listen on {address}"), cause).remedy(remedy)
    })
}

/// The address of the client, with each of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Where connections come from.
pub trait Listener: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// Waits for the next one, and says who it is; may be dropped while waiting.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<Peer>)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<Peer>)> {
        let accepted = self.accept().await;
        accepted.map(|(stream, from)| (stream, Some(Peer(from.ip()))))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<Peer>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}
