//! As many rules as a large node has. What it takes is printed:
//! `cargo test --release -p tracer rules::tests::scale -- --nocapture`.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use nix::{
    sys::socket::SockProtocol,
    time::{ClockId, clock_gettime},
};

use super::bed::{apart, read, run, syn};
use crate::evidence::{
    netlink::{Request, Socket},
    rules::{Family, Matches, Reader, Traced, nft},
};

const RULES: u32 = 20_000;

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Returns how many rules were read, and what they do with a SYN.
fn measure(what: &str) -> (usize, Traced) {
    let mut reader = Reader::default();
    let mut best = (Duration::MAX, Duration::MAX);
    let mut last = None;
    for _ in 0..5 {
        let start = cpu();
        let rules = read(&mut reader, &[syn(30001)]);
        let reading = cpu() - start;
        let traced = rules.trace(&syn(30001));
        best = best.min((reading, cpu() - start - reading));
        let chains = rules.read.tables.chains.iter();
        last = Some((chains.map(|chain| chain.rules.len()).sum(), traced));
    }
    let last = last.unwrap();
    println!(
        "{what}: of {RULES} rules {} read in {:?}, a SYN traced in {:?} (CPU)",
        last.0, best.0, best.1
    );
    last
}

fn measure_stopped(what: &str) {
    let (_, traced) = measure(what);
    assert_eq!(traced.stops.len(), 1, "{:#?}", traced.stops);
    assert_eq!(traced.stops[0].matches, Matches::Yes);
}

/// What handing over a chain of nftables takes the kernel, without anybody who reads it.
fn measure_kernel(table: &str, chain: &str) {
    let text = |name: &str| [name.as_bytes(), &[0]].concat();
    let ipv4 = nft::protocol(Family::Ipv4);
    let request = Request::dump(nft::GET_RULE, &[ipv4, 0, 0, 0])
        .with(1, &text(table))
        .with(2, &text(chain));
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter).unwrap();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (start, mut rules) = (cpu(), 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        socket.ask(&request, deadline, |_, _| rules += 1).unwrap();
        best = best.min(cpu() - start);
        assert_eq!(rules, RULES);
    }
    println!("{table} {chain}: the kernel alone takes {best:?} (CPU)");
}

fn addresses() -> impl Iterator<Item = String> {
    (0..RULES - 1).map(|n| format!("172.{}.{}.{}", 16 + n / 65536, n / 256 % 256, n % 256))
}

#[test]
fn iptables() {
    for restore in ["iptables-legacy-restore", "iptables-nft-restore"] {
        apart(|| {
            let mut rules = "*filter\n".to_owned();
            for address in addresses() {
                let _ = writeln!(
                    rules,
                    "-A INPUT -s {address} -p tcp -m comment --comment \"banned by guard\" \
                     -m tcp --dport 30001 -j DROP"
                );
            }
            rules.push_str("-A INPUT -s 10.66.1.6 -p tcp --dport 30001 -j DROP\nCOMMIT\n");
            run(&[restore], &rules);
            measure_stopped(restore);
            if restore == "iptables-nft-restore" {
                measure_kernel("filter", "INPUT");
            }
        });
    }
}

#[test]
fn nftables() {
    apart(|| {
        let mut rules =
            "table ip guard {\nchain in { type filter hook input priority 0;\n".to_owned();
        for address in addresses() {
            let _ = writeln!(
                rules,
                "ip saddr {address} tcp dport 30001 counter drop comment \"banned\""
            );
        }
        rules.push_str("ip saddr 10.66.1.6 tcp dport 30001 counter drop\n}\n}\n");
        run(&["nft", "-f", "-"], &rules);
        measure_stopped("nft");
        measure_kernel("guard", "in");
    });
}

/// Of two backends each.
const SERVICES: u32 = RULES / 11;

fn kube_proxys() -> String {
    let (mut chains, mut rules) = ("*nat\n".to_owned(), String::new());
    for name in ["SERVICES", "NODEPORTS", "MARK-MASQ"] {
        let _ = writeln!(chains, ":KUBE-{name} - [0:0]");
    }
    rules.push_str(
        "-A PREROUTING -j KUBE-SERVICES\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n",
    );
    for n in 0..SERVICES {
        let (ip, comment) = (
            format!("10.96.{}.{}", n / 256, n % 256),
            format!("-m comment --comment \"shop/s{n}:thrift\""),
        );
        let svc = format!("KUBE-SVC-{n:016}");
        let _ = writeln!(chains, ":{svc} - [0:0]\n:KUBE-EXT-{n:016} - [0:0]");
        let _ = writeln!(
            rules,
            "-A KUBE-SERVICES -d {ip}/32 -p tcp {comment} -m tcp --dport 80 -j {svc}\n\
             -A KUBE-NODEPORTS -p tcp {comment} -m tcp --dport {} -j KUBE-EXT-{n:016}\n\
             -A KUBE-EXT-{n:016} {comment} -j KUBE-MARK-MASQ\n\
             -A KUBE-EXT-{n:016} -j {svc}\n\
             -A {svc} ! -s 10.244.0.0/16 -d {ip}/32 -p tcp {comment} -j KUBE-MARK-MASQ",
            30_000 + n
        );
        for (m, chance) in ["-m statistic --mode random --probability 0.5", ""]
            .iter()
            .enumerate()
        {
            let (sep, pod) = (
                format!("KUBE-SEP-{n:015}{m}"),
                format!("10.244.{}.{}", n / 128, 2 * (n % 128) + m as u32),
            );
            let _ = writeln!(chains, ":{sep} - [0:0]");
            let _ = writeln!(
                rules,
                "-A {svc} {comment} {chance} -j {sep}\n\
                 -A {sep} -s {pod}/32 {comment} -j KUBE-MARK-MASQ\n\
                 -A {sep} -p tcp {comment} -m tcp -j DNAT --to-destination {pod}:9090"
            );
        }
    }
    rules.push_str("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
    format!("{chains}{rules}COMMIT\n")
}

/// What no SYN of these comes to is not read.
#[test]
fn iptables_of_kube_proxy() {
    for restore in ["iptables-legacy-restore", "iptables-nft-restore"] {
        apart(|| {
            run(&[restore], &kube_proxys());
            let (count, traced) = measure(&format!("{restore}, kube-proxy's"));
            let backends: Vec<_> = traced.backends.iter().map(ToString::to_string).collect();
            assert_eq!(backends, ["10.244.0.2:9090", "10.244.0.3:9090"]);
            assert!(traced.complete && count < RULES as usize / 4, "{count}");
        });
    }
}
