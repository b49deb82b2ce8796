//! IPVS's virtual servers in the node's namespace, by which kube-proxy's ipvs mode does NAT
//! (net/netfilter/ipvs/ip_vs_ctl.c: `ip_vs_info_seq_show`).

use std::{
    fs::File,
    io::Read as _,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Absent without IPVS.
const PATH: &str = "/proc/thread-self/net/ip_vs";
/// Bytes of it that are read at most: some 50,000 lines.
const MOST: u64 = 4 << 20;

/// A virtual server and its real ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// Where clients dial.
    pub address: SocketAddr,
    /// Where IPVS sends them to; those of weight 0 get no new connections and are left out.
    pub backends: Vec<SocketAddr>,
}

/// Those for TCP on these ports (ascending); `None`: IPVS is not in use.
pub fn read(ports: &[u16]) -> Option<Vec<VirtualServer>> {
    let mut text = String::new();
    // Cut short within a line at worst, which is then no server.
    File::open(PATH)
        .ok()?
        .take(MOST)
        .read_to_string(&mut text)
        .ok()?;
    let (any, servers) = parse(&text, |port| ports.binary_search(&port).is_ok());
    any.then_some(servers)
}

/// Whether there are any for TCP, and those on wanted ports.
fn parse(text: &str, is_wanted: impl Fn(u16) -> bool) -> (bool, Vec<VirtualServer>) {
    let mut servers: Vec<VirtualServer> = Vec::new();
    let mut any = false;
    // Lines of other servers end the one before.
    let mut open = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next().and_then(address)) {
            (Some("TCP"), Some(address)) => {
                any = true;
                open = is_wanted(address.port());
                if open {
                    let backends = Vec::new();
                    servers.push(VirtualServer { address, backends });
                }
            }
            (Some("->"), Some(backend)) => {
                let weight = words.nth(1);
                if let (true, Some(server)) = (open && weight != Some("0"), servers.last_mut()) {
                    server.backends.push(backend);
                }
            }
            _ => open = false,
        }
    }
    (any, servers)
}

/// `0A000311:7BE9` or `[fd00:0000:…]:7BE9`.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip: IpAddr = match ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')) {
        Some(ip) => ip.parse::<Ipv6Addr>().ok()?.into(),
        None if ip.len() == 8 => u32::from_str_radix(ip, 16).ok()?.to_be_bytes().into(),
        None => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHOWN: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000311:7BE8 rr
  -> 0AF40002:2382      Masq    1      0          0
  -> 0AF40003:2382      Masq    0      0          0
TCP  0A000311:7BE9 rr
UDP  0A000311:7BE9 rr
  -> 0AF40004:0035      Masq    1      0          0
TCP  [fd00:0000:0000:0000:0000:0000:0000:0010]:7BE8 rr
  -> [fd00:0000:0000:0000:0000:0000:0001:0002]:2382      Masq    1      0          0
";

    #[test]
    fn servers_have_the_backends_that_get_connections() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let server = |address, backends: &[&str]| VirtualServer {
            address: at(address),
            backends: backends.iter().map(|b| at(b)).collect(),
        };
        assert_eq!(
            parse(SHOWN, |_| true).1,
            [
                server("10.0.3.17:31720", &["10.244.0.2:9090"]),
                server("10.0.3.17:31721", &[]),
                server("[fd00::10]:31720", &["[fd00::1:2]:9090"]),
            ]
        );
        let others = parse(SHOWN, |port| port == 31721);
        assert_eq!(others, (true, vec![server("10.0.3.17:31721", &[])]));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "((TCP|UDP|  ->|[a-z]{0,3}) [0-9A-F\\[:]{0,20}[\\]: 0-9]{0,8}\n){0,5}") {
            parse(&text, |port| port != 53);
        }
    }
}
