//! Traffic in whose midst other traffic goes well: what verdicts are held against.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::errno::Errno;
use testbed::{
    Topology,
    addr::{client_v4, client_v6},
    peer::Dial,
    topology::Builder,
};

use super::scene::{Family, Reply, SOON, Scene, at_once, call};

/// Connections are counted by rounds of a second, and those of a round that lies wholly
/// between two failures are amid them.
const CALLS: usize = 7;
const PAUSE: Duration = Duration::from_millis(400);

/// The load balancer has two addresses.
pub fn two_clients() -> Builder {
    Topology::builder().pods(2).client_addresses(2)
}

/// Dials of the load balancer's second address.
pub fn second(s: &Scene) -> Dial<'_> {
    let from = match s.family {
        Family::V4 => (client_v4(1), 0).into(),
        Family::V6 => (client_v6(1), 0).into(),
    };
    from_address(s, from)
}

fn from_address(s: &Scene, from: std::net::SocketAddr) -> Dial<'_> {
    s.dial(SOON).from(from)
}

/// `count` dials at once, each of which must end with `errno`.
pub fn end(dial: &Dial<'_>, count: usize, errno: Errno) -> Result<()> {
    for ended in at_once(count, |_| dial.connect())? {
        let ended = ended.err();
        ensure!(ended == Some(errno), "{dial:?} ended with {ended:?}");
    }
    Ok(())
}

/// `fails`, then calls by the load balancer's first address for some seconds, then
/// `fails` again.
pub fn in_turn(s: &Scene, fails: impl Fn() -> Result<()>) -> Result<()> {
    let served = from_address(s, s.client());
    fails()?;
    for _ in 0..CALLS {
        let (reply, _) = call(&served)?;
        ensure!(reply == Reply::Whole, "a call came to {reply:?}");
        std::thread::sleep(PAUSE);
    }
    fails()
}

/// The second address is met with silence, four times; the first is served.
pub fn second_is_silent(s: &Scene) -> Result<()> {
    in_turn(s, || end(&second(s), 2, Errno::EINPROGRESS))
}
