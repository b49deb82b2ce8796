//! Clients that hold handshakes open, or guess passwords: those who may scrape
//! go on, and so does tracing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use testbed::tracer::LISTEN;

use crate::bed::{ALICE, BOB, Bed, TLS, USERS};

fn connect(bed: &Bed) -> Result<TcpStream> {
    let stream = bed.ns.enter(|| TcpStream::connect(LISTEN))??;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// A record that promises a ClientHello, and the first bytes of one.
const HALF_HELLO: [u8; 11] = [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];

#[test]
fn handshakes_that_never_end() -> Result<()> {
    let bed = Bed::start(&format!("{TLS}{USERS}"))?;
    let mut held = Vec::new();
    for i in 0..300 {
        let mut stream = connect(&bed)?;
        if i % 2 == 0 {
            // It may have had to make room already.
            let _ = stream.write_all(&HALF_HELLO);
        }
        held.push(stream);
    }
    for _ in 0..3 {
        bed.scrape(&["-u", ALICE])?.is(200);
    }
    ensure!(held.len() == 300 && bed.health(&[])?.0 == Some(0));
    Ok(())
}

/// As fast as a client can, on several connections.
fn guess(bed: &Bed, stop: &AtomicBool, guesses: &AtomicU32) {
    // "bob:guess": every guess is one more that bcrypt has to judge.
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                    Authorization: Basic Ym9iOmd1ZXNz\r\n\r\n";
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = connect(bed) else {
            continue;
        };
        let mut head = [0; 12];
        if stream.write_all(request).is_ok() && stream.read_exact(&mut head).is_ok() {
            assert!(head.ends_with(b"401") || head.ends_with(b"503"), "{head:?}");
            guesses.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn guesses_do_not_keep_out_who_knows() -> Result<()> {
    let bed = Bed::start(USERS)?;
    // Another address than that of those who guess.
    let url = "http://127.0.0.1:9400/metrics";
    let knows = ["-u", BOB, "--interface", "127.0.0.2"];
    let (stop, guesses) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| guess(&bed, &stop, &guesses));
        }
        let asked = (|| {
            while guesses.load(Ordering::Relaxed) < 50 {
                thread::sleep(Duration::from_millis(20));
            }
            for _ in 0..10 {
                bed.curl(url, &knows)?.is(200);
            }
            bed.health(&[])
        })();
        stop.store(true, Ordering::Relaxed);
        let (code, said) = asked?;
        ensure!(code == Some(0), "{said}");
        Ok(())
    })
}
