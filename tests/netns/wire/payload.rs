//! First bytes however they travel: in pages, split, in a SYN.

use std::{
    fs::File,
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage},
    },
};
use testbed::{
    Netns,
    addr::{NODE_V4, NODE_V6},
    peer::{
        Behaviour, Dial, Server,
        thrift::{Message, framed},
    },
};

use crate::scene::{Scene, TAPS, at, expect, nothing_else, port, sum};

/// Far more than a segment, and than a connection's first window.
const LARGE: usize = 1 << 20;

/// A call, and more after it.
fn large(head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(LARGE, 0);
    bytes
}

/// Sends from the page cache: the kernel's segments point at its pages.
fn send_file(stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    let mut file = File::from(memfd_create("bed-page", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    let mut offset = 0;
    while usize::try_from(offset)? < bytes.len() {
        let left = bytes.len() - usize::try_from(offset)?;
        let (to, from) = (stream.as_raw_fd(), file.as_raw_fd());
        // SAFETY: both descriptors are open here, and `offset` is alive.
        let sent = unsafe { libc::sendfile(to, from, &raw mut offset, left) };
        ensure!(Errno::result(sent).context("sendfile")? > 0, "short file");
    }
    Ok(())
}

/// Sends as told, then waits until the other side closes.
fn transfer(
    client: &Netns,
    to: SocketAddr,
    send: impl Fn(&mut TcpStream) -> Result<()> + Send + Sync,
) -> Result<()> {
    let mut stream = Dial::new(client, to).stream()?;
    std::thread::scope(|scope| {
        let mut reader = stream.try_clone()?;
        let echo = scope.spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        send(&mut stream)?;
        stream.shutdown(Shutdown::Write)?;
        let echoed = echo.join().map_err(|_| anyhow::anyhow!("reader"))??;
        ensure!(echoed == LARGE as u64, "{echoed} bytes came back");
        Ok(())
    })
}

#[test]
fn payload_in_pages() -> Result<()> {
    let call = Message::call("putBlob").strict();
    let mut in_frame = framed(&large(&call));
    in_frame.truncate(LARGE);
    let thrift = [
        large(&call),
        in_frame,
        large(&Message::call("putBlob").compact()),
    ];
    let http = large(b"POST /blob HTTP/1.1\r\n\r\n");
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        for node in [at(NODE_V4, port::OPEN), at(NODE_V6, port::OPEN)] {
            for bytes in thrift.iter().chain([&http]) {
                let client = &scene.bed.client;
                transfer(client, node, |stream| send_file(stream, bytes))?;
                transfer(client, node, |stream| Ok(stream.write_all(bytes)?))?;
            }
        }
        let metrics = expect(
            &tracer,
            port::OPEN,
            &[("established thrift", 12), ("established other", 4)],
        )?;
        for stage in ["malformed", "fragment"] {
            assert_eq!(crate::scene::lost(&metrics, stage), 0);
        }
    }
    Ok(())
}

/// `bytes` in pieces of `size`.
fn pieces(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    bytes.chunks(size).collect()
}

#[test]
fn proxy_headers_split_over_segments() -> Result<()> {
    let v1 = b"PROXY TCP4 192.168.100.101 192.168.100.102 40000 31200\r\n";
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x9c\x40\x79\xe0";
    let call = Message::call("getUser").strict();
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    let scene = Scene::new()?;
    for tap in TAPS {
        let tracer = scene.trace(tap, &[])?;
        let dial = Dial::new(&scene.bed.client, at(NODE_V4, port::OPEN));
        for header in [&v1[..], &v2[..]] {
            for (body, size) in [
                (call.clone(), 3),
                (framed(&call), 7),
                (call.clone(), header.len() - 1),
                (call.clone(), header.len()),
                (http.clone(), 5),
            ] {
                let bytes = [header, &body].concat();
                let echo = dial.send(&pieces(&bytes, size))?;
                ensure!(echo == bytes, "no echo");
            }
        }
        let wanted = [("established thrift", 8), ("established other", 2)];
        nothing_else(&expect(&tracer, port::OPEN, &wanted)?);
    }
    Ok(())
}

/// One connection whose SYN asks for Fast Open, with the bytes in it once the
/// kernel has a cookie (RFC 7413).
fn fast_open(client: &Netns, to: SocketAddr, bytes: &[u8]) -> Result<()> {
    client.enter(|| {
        let family = if to.is_ipv6() {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let flags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        let sent = socket::sendto(fd.as_raw_fd(), bytes, &SockaddrStorage::from(to), flags)?;
        ensure!(sent == bytes.len(), "{sent} bytes sent");
        socket::shutdown(fd.as_raw_fd(), socket::Shutdown::Write)?;
        let mut stream = TcpStream::from(fd);
        std::io::copy(&mut stream, &mut std::io::sink())?;
        Ok(())
    })?
}

#[test]
fn data_in_the_syn() -> Result<()> {
    let scene = Scene::new()?;
    let (node, client) = (&scene.bed.node, &scene.bed.client);
    // As client and as server, for every listener without its asking.
    for ns in [node, client] {
        ns.sysctls(&[("net/ipv4/tcp_fastopen", "1027")])?;
    }
    // Below the Service's rule: the node's own listener.
    let own = port::OPEN + 5;
    let _servers = [
        Server::start(node, at(NODE_V4, own), Behaviour::Sink)?,
        Server::start(node, at(NODE_V6, own), Behaviour::Sink)?,
    ];
    for (round, tap) in (1..).zip(TAPS) {
        let tracer = scene.trace(tap, &[])?;
        let call = Message::call("getUser").strict();
        for to in [at(NODE_V4, own), at(NODE_V6, own)] {
            for _ in 0..3 {
                fast_open(client, to, &call)?;
            }
            fast_open(client, to, b"GET / HTTP/1.1\r\n\r\n")?;
        }
        let wanted = [("established thrift", 6), ("established other", 2)];
        let metrics = expect(&tracer, own, &wanted)?;
        nothing_else(&metrics);
        let calls = sum(
            &metrics,
            "tracer_thrift_messages_total",
            own,
            &[("type", "call")],
        );
        assert_eq!(calls, 6);
        // All but each family's first, which asked for the cookie.
        let passive = node.counter("TcpExt", "TCPFastOpenPassive")?;
        assert_eq!(passive, 8 * round - 2);
    }
    Ok(())
}
