use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::evidence::netlink::attribute;

fn message(family: i32, state: u8, address: &[u8], queue: u32, inode: u32) -> Vec<u8> {
    let mut bytes = vec![0; INET_DIAG_MSG];
    bytes[0] = family as u8;
    bytes[1] = state;
    bytes[4..6].copy_from_slice(&9090_u16.to_be_bytes());
    bytes[8..8 + address.len()].copy_from_slice(address);
    bytes[56..60].copy_from_slice(&queue.to_ne_bytes());
    bytes[60..64].copy_from_slice(&128_u32.to_ne_bytes());
    bytes[68..72].copy_from_slice(&inode.to_ne_bytes());
    bytes
}

fn v6_only(mut bytes: Vec<u8>, only: u8) -> Vec<u8> {
    bytes.extend(attribute(INET_DIAG_SKV6ONLY, &[only]));
    bytes
}

const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
const POD6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3));

fn listening(family: i32, address: &[u8]) -> Sock {
    parse(&message(family, LISTEN, address, 0, 5)).unwrap()
}

#[test]
fn reachable_by_what_it_is_bound_to() {
    let any = listening(libc::AF_INET, &[0; 4]);
    assert!(any.reachable_at(POD) && !any.reachable_at(POD6));
    let exact = listening(libc::AF_INET, &[10, 1, 2, 3]);
    assert!(exact.reachable_at(POD) && !exact.loopback());
    let other = listening(libc::AF_INET, &[10, 1, 2, 4]);
    assert!(!other.reachable_at(POD) && !other.loopback());
    let loopback = listening(libc::AF_INET, &[127, 0, 0, 1]);
    assert!(!loopback.reachable_at(POD) && loopback.loopback());
}

#[test]
fn dual_stack_sockets_take_both_families() {
    let bytes = message(libc::AF_INET6, LISTEN, &[0; 16], 0, 5);
    let dual = parse(&v6_only(bytes.clone(), 0)).unwrap();
    assert!(dual.reachable_at(POD) && dual.reachable_at(POD6));
    let only = parse(&v6_only(bytes, 1)).unwrap();
    assert!(!only.reachable_at(POD) && only.reachable_at(POD6));
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut mapped = [0; 16];
    mapped[10..].copy_from_slice(&[255, 255, 10, 1, 2, 3]);
    let sock = listening(libc::AF_INET6, &mapped);
    assert_eq!(sock.address, POD);
}

#[test]
fn accepted_and_unread_are_told_apart() {
    let sock = |state, queue, inode| {
        parse(&message(libc::AF_INET, state, &[10, 1, 2, 3], queue, inode)).unwrap()
    };
    assert!(sock(ESTABLISHED, 4, 9).unread());
    assert!(!sock(ESTABLISHED, 0, 9).unread());
    assert!(!sock(ESTABLISHED, 4, 0).unread() && sock(ESTABLISHED, 4, 0).not_accepted());
    assert!(!sock(CLOSE_WAIT, 1, 9).unread(), "a FIN is not data");
    assert!(sock(CLOSE_WAIT, 2, 9).unread());
}

#[test]
fn the_fullest_of_several_listeners_counts() {
    let sock = |queue| parse(&message(libc::AF_INET, LISTEN, &[0; 4], queue, 5)).unwrap();
    let mut pod = Pod::default();
    listeners(&mut pod, &[sock(3), sock(129), sock(0)], POD, 9090);
    let full = Listener {
        queue: 129,
        limit: 128,
        drops: 0,
    };
    assert_eq!(pod.listener, Some(full));
    assert_eq!(pod.listens_on, [9090]);
    listeners(&mut pod, &[sock(3)], POD, 9092);
    assert_eq!((pod.listener, &pod.listens_on[..]), (None, &[9090][..]));
    let loopback = listening(libc::AF_INET, &[127, 0, 0, 1]);
    listeners(&mut pod, &[loopback], POD, 9090);
    let at = |at: [u8; 4]| Some(IpAddr::from(at));
    assert!(pod.listens_only_at == at([127, 0, 0, 1]) && pod.listens_on.is_empty());
    // Any address of IPv4, and an address of IPv6 is asked for.
    let any = listening(libc::AF_INET, &[0; 4]);
    listeners(&mut pod, &[any], "fd00::2".parse().unwrap(), 9090);
    assert!(pod.listens_only_at == at([0; 4]) && pod.listens_on.is_empty());
}

/// Needs no privilege: every process may ask about its own namespace.
#[test]
fn this_kernel_shows_an_unaccepted_and_an_unread_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut sockets = Sockets::open().unwrap();
    let mut pod = Pod::default();

    let mut client = TcpStream::connect(at).unwrap();
    std::io::Write::write_all(&mut client, b"x").unwrap();
    let all = sockets.listening(deadline).unwrap();
    listeners(&mut pod, &all, at.ip(), at.port());
    sockets.waiting(&mut pod, at.port(), deadline).unwrap();
    assert_eq!((pod.not_accepted, pod.unread), (1, 0));
    assert_eq!(pod.listener.map(|l| l.queue), Some(1));
    assert!(pod.listens_on.contains(&at.port()));

    let mut pod = Pod::default();
    let _accepted = listener.accept().unwrap();
    let all = sockets.listening(deadline).unwrap();
    listeners(&mut pod, &all, at.ip(), at.port());
    sockets.waiting(&mut pod, at.port(), deadline).unwrap();
    assert_eq!((pod.not_accepted, pod.unread), (0, 1));
    assert!(
        matches!(pod.met_unread[..], [(inode, 0)] if inode != 0),
        "nothing was read"
    );
    let mut within = Vec::new();
    let ports = (at.port().saturating_sub(1), at.port());
    sockets
        .connected(ports, deadline, |s| within.push(s))
        .unwrap();
    within.retain(|s| s.port == at.port());
    assert!(within.iter().all(|s| s.port == at.port()));
    assert_eq!(within.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..150)) {
        if let Some(sock) = parse(&bytes) {
            listeners(&mut Pod::default(), &[sock], POD, 9090);
        }
    }
}
