//! E2: the process accepts and closes, or crashes.

use std::io::{ErrorKind, Read as _};

use anyhow::{Result, ensure};
use testbed::peer::Behaviour;

use super::{
    expect::spoilt,
    scenario::Scenario,
    scene::{Reply, SOON, Scene},
};

const OPENED: &str = "own sockets on this node completed 4 handshakes";

/// Connects, says nothing, and is told so much in vain.
fn silent(s: &Scene, end: Result<usize, ErrorKind>) -> Result<()> {
    for _ in 0..4 {
        // The RST may be there before connect(2) has returned.
        let ended = match s.dial(SOON).connect()? {
            Ok(mut stream) => {
                let ended = stream.read(&mut [0]).map_err(|e| e.kind());
                s.keep(stream);
                ended
            }
            Err(errno) => Err(std::io::Error::from(errno).kind()),
        };
        ensure!(ended == end, "{ended:?}");
    }
    Ok(())
}

#[test]
fn fin() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::Close),
        traffic: |s| silent(s, Ok(0)),
        expect: || {
            let closed = spoilt("closed_at_once", 4).by(0, 9090);
            vec![closed.says(&["4 with FIN.", OPENED])]
        },
        ..Scenario::new(31454)
    }
    .run()
}

/// SO_LINGER 0.
#[test]
fn vm_rst() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::Reset),
        traffic: |s| silent(s, Err(ErrorKind::ConnectionReset)),
        expect: || {
            let closed = spoilt("closed_at_once", 4).by(0, 9090);
            vec![closed.says(&["4 with a RST of the process's own", "SO_LINGER 0", OPENED])]
        },
        rests_on: &["net_dev_queue", "tcp_send_reset"],
        ..Scenario::new(31456)
    }
    .run()
}

/// The calls are there and are thrown away.
#[test]
fn bytes_unread() -> Result<()> {
    Scenario {
        servers: |s| s.serve(0, 9090, Behaviour::CloseUnread),
        traffic: |s| s.calls(4, SOON, Reply::Reset),
        expect: || {
            let closed = spoilt("closed_at_once", 4).by(0, 9090);
            vec![closed.says(&["4 with a RST of the process's own", "bytes unread", OPENED])]
        },
        ..Scenario::new(31554)
    }
    .run()
}
