//! The kernel's TCP and IP counters of a network namespace
//! (Documentation/networking/snmp_counter.rst).

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::{Conntrack, Namespace, history::Totals};

/// More than any of the files has, and than they commonly have.
const MOST: u64 = 256 * 1024;
const COMMON: usize = 8 * 1024;

impl Totals for Namespace {
    fn cells(&mut self) -> impl Iterator<Item = &mut u64> {
        [
            &mut self.listen_overflows,
            &mut self.listen_drops,
            &mut self.req_q_full_drop,
            &mut self.req_q_full_cookies,
            &mut self.syncookies_sent,
            &mut self.paws,
            &mut self.checksum_errors,
            &mut self.embryonic_rsts,
            &mut self.reverse_path_filter,
            &mut self.frag_fails,
            &mut self.out_rsts,
            &mut self.out_no_routes,
            &mut self.abort_on_memory,
        ]
        .into_iter()
        .chain(&mut self.icmp_limited)
    }
}

impl Totals for Conntrack {
    fn cells(&mut self) -> impl Iterator<Item = &mut u64> {
        [
            &mut self.insert_failed,
            &mut self.drop,
            &mut self.early_drop,
            &mut self.invalid,
        ]
        .into_iter()
    }
}

/// Reads the totals of the calling thread's network namespace.
pub fn read() -> io::Result<Namespace> {
    let mut totals = Namespace::default();
    for file in ["snmp", "netstat"] {
        pairs(&text(file)?, &mut totals);
    }
    // Absent when IPv6 is off.
    if let Ok(text) = text("snmp6") {
        lines(&text, &mut totals);
    }
    Ok(totals)
}

fn text(file: &str) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(COMMON);
    File::open(Path::new("/proc/thread-self/net").join(file))?
        .take(MOST)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds what a pair of lines such as `Tcp: OutRsts …` and `Tcp: 7 …` tells.
fn pairs(text: &str, totals: &mut Namespace) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((table, names)), Some((of, values))) =
            (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if table != of {
            continue;
        }
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            add(totals, table, name, value);
        }
    }
}

/// Adds what lines such as `Ip6FragFails 7` tell.
fn lines(text: &str, totals: &mut Namespace) {
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(char::is_whitespace) {
            add(totals, "", name, value.trim());
        }
    }
}

fn add(totals: &mut Namespace, table: &str, name: &str, value: &str) {
    // Tcp MaxConn is negative; it is none of ours.
    if let (Some(cell), Ok(value)) = (cell(totals, table, name), value.parse()) {
        *cell = cell.saturating_add(value);
    }
}

fn cell<'a>(totals: &'a mut Namespace, table: &str, name: &str) -> Option<&'a mut u64> {
    Some(match (table, name) {
        ("TcpExt", "ListenOverflows") => &mut totals.listen_overflows,
        ("TcpExt", "ListenDrops") => &mut totals.listen_drops,
        ("TcpExt", "TCPReqQFullDrop") => &mut totals.req_q_full_drop,
        ("TcpExt", "TCPReqQFullDoCookies") => &mut totals.req_q_full_cookies,
        ("TcpExt", "SyncookiesSent") => &mut totals.syncookies_sent,
        ("TcpExt", "PAWSPassive" | "PAWSActive" | "PAWSEstab" | "PAWSOldAck" | "PAWSTimewait") => {
            &mut totals.paws
        }
        ("TcpExt", "EmbryonicRsts") => &mut totals.embryonic_rsts,
        ("TcpExt", "IPReversePathFilter") => &mut totals.reverse_path_filter,
        ("TcpExt", "TCPAbortOnMemory") => &mut totals.abort_on_memory,
        ("Tcp", "InCsumErrors") => &mut totals.checksum_errors,
        ("Tcp", "OutRsts") => &mut totals.out_rsts,
        ("Icmp", "OutRateLimitGlobal" | "OutRateLimitHost") | ("", "Icmp6OutRateLimitHost") => {
            totals.icmp_limited.get_or_insert_default()
        }
        ("Ip", "OutNoRoutes") | ("", "Ip6OutNoRoutes") => &mut totals.out_no_routes,
        ("Ip", "FragFails") | ("", "Ip6FragFails") => &mut totals.frag_fails,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Linux 6.18, shortened.
    const SNMP: &str = "\
Ip: Forwarding DefaultTTL OutNoRoutes FragOKs FragFails FragCreates
Ip: 1 64 4 0 5 0
Icmp: InMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs
Icmp: 2 0 20 1 5
Tcp: RtoMin RtoMax MaxConn OutRsts InCsumErrors
Tcp: 200 120000 -1 42 3
";
    const NETSTAT: &str = "\
TcpExt: SyncookiesSent EmbryonicRsts PAWSActive PAWSEstab PAWSOldAck TSEcrRejected PAWSTimewait \
ListenOverflows ListenDrops TCPAbortOnMemory IPReversePathFilter TCPReqQFullDoCookies TCPReqQFullDrop
TcpExt: 1 2 3 4 5 999 6 7 8 9 10 11 12
IpExt: InNoRoutes ListenDrops
IpExt: 1 2
";

    #[test]
    fn known_names_are_taken_wherever_they_stand() {
        let mut totals = Namespace::default();
        pairs(SNMP, &mut totals);
        pairs(NETSTAT, &mut totals);
        lines(
            "Ip6InReceives \t 9\nIp6FragFails                    \t2\n\
             Icmp6OutRateLimitHost           \t300\n",
            &mut totals,
        );
        let expected = Namespace {
            listen_overflows: 7,
            listen_drops: 8,
            req_q_full_drop: 12,
            req_q_full_cookies: 11,
            syncookies_sent: 1,
            paws: 18,
            checksum_errors: 3,
            embryonic_rsts: 2,
            reverse_path_filter: 10,
            frag_fails: 7,
            out_rsts: 42,
            out_no_routes: 4,
            abort_on_memory: 9,
            icmp_limited: Some(321),
        };
        assert_eq!(totals, expected);
    }

    #[test]
    fn lines_that_do_not_belong_together_are_left_out() {
        let mut totals = Namespace::default();
        pairs("Tcp: OutRsts\nIp: 7\n", &mut totals);
        pairs("Tcp: OutRsts\nTcp:\n", &mut totals);
        pairs("Tcp: OutRsts\nTcp: -7\n", &mut totals);
        pairs("Tcp: OutRsts", &mut totals);
        assert_eq!(totals, Namespace::default());
    }

    #[test]
    fn this_namespace_can_be_read() {
        assert!(read().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(Tcp|TcpExt|Ip|[a-z]{0,3}|)(:| |)[ -~\n]{0,80}") {
            let mut totals = Namespace::default();
            pairs(&text, &mut totals);
            lines(&text, &mut totals);
        }

        #[test]
        fn any_values_add_up(values in proptest::collection::vec(any::<u64>(), 1..4)) {
            let mut totals = Namespace::default();
            for value in &values {
                pairs(&format!("Tcp: a OutRsts b\nTcp: 1 {value} 2\n"), &mut totals);
            }
            let sum = values.iter().fold(0_u64, |sum, v| sum.saturating_add(*v));
            prop_assert_eq!(totals.out_rsts, sum);
        }
    }
}
