//! Rules that stop a SYN, by each tool.

use super::bed::{apart, only, read, run, sh, syn, syn6, trace};
use crate::evidence::rules::{Action, Family, Matches, Owner, Position, Reader, Tool, Traced};

const TOOLS: [(&str, Tool); 2] = [
    ("iptables-legacy", Tool::IptablesLegacy),
    ("iptables-nft", Tool::IptablesNft),
];

#[test]
fn a_clients_drop_before_dnat_is_named() {
    for (command, tool) in TOOLS {
        apart(|| {
            sh(&format!(
                "{command} -t raw -A PREROUTING -s 10.9.0.0/16 -j DROP; \
                 {command} -t raw -A PREROUTING -s 10.66.1.6 -p tcp --dport 30001 \
                 -m comment --comment 'ticket 17' -j DROP"
            ));
            let stop = only(&syn(30001));
            assert_eq!(stop.rule.tool, tool);
            assert_eq!(stop.rule.position, Position::Number(2));
            assert_eq!(
                (&*stop.rule.table, &*stop.rule.chain),
                ("raw", "PREROUTING")
            );
            assert_eq!(stop.rule.text, "-s 10.66.1.6/32 -p tcp --dport 30001");
            assert_eq!(stop.rule.comment.as_deref(), Some("ticket 17"));
            assert_eq!(stop.rule.owner, Owner::Other);
            assert_eq!((stop.action, stop.matches), (Action::Drop, Matches::Yes));
            assert!(stop.before_dnat);
            assert_eq!((stop.packets, stop.rise), (Some(0), None));
            assert_eq!(
                stop.rule.show(),
                format!("`{command} -t raw -L PREROUTING -n -v --line-numbers`")
            );
            assert_eq!(trace(&syn(30002)).stops, []);
            assert_eq!(
                trace(&syn6(30001)),
                Traced {
                    complete: true,
                    complete_before_dnat: true,
                    ..Traced::default()
                }
            );
        });
    }
}

#[test]
fn many_matches_are_understood() {
    for (command, _) in TOOLS {
        apart(|| {
            for matches in [
                "-m conntrack --ctstate NEW",
                "-m state --state NEW",
                "-m multiport --dports 80,30000:30010",
                "-m iprange --src-range 10.66.1.1-10.66.1.9",
                "-m addrtype --dst-type LOCAL",
                "-m addrtype ! --src-type LOCAL",
                "--syn",
                "! --sport 1:2 --tcp-flags SYN,RST SYN -m mark --mark 0x0/0x10",
                "-i eth+ -m mark ! --mark 7",
                "-i eth0 ! -s 10.67.0.0/16 -d 10.60.0.1",
                "-m tcp",
            ] {
                sh(&format!(
                    "{command} -F INPUT; {command} -A INPUT -p tcp {matches} -j DROP"
                ));
                let traced = trace(&syn(30001));
                let stops = traced.stops.as_slice();
                // Without a port of the client --sport stays open.
                let open = matches.contains("--sport");
                assert_eq!(stops.len(), 1, "{command} {matches}: {traced:#?}");
                assert_eq!(
                    stops[0].matches == Matches::Maybe,
                    open,
                    "{command} {matches}: {traced:#?}"
                );
                assert!(!stops[0].before_dnat);
            }
            for others in [
                "-m conntrack --ctstate ESTABLISHED,RELATED,INVALID",
                "-m multiport --dports 80,30002:30010",
                "-m multiport ! --dports 80,30001",
                "-m iprange --src-range 10.66.1.7-10.66.1.9",
                "-m addrtype --dst-type MULTICAST",
                "-m addrtype --src-type LOCAL",
                "! --syn",
                "-m mark --mark 0x10/0x10",
                "-i cni+",
                "! -i eth0",
                "! -d 10.60.0.0/24",
            ] {
                sh(&format!(
                    "{command} -F INPUT; {command} -A INPUT -p tcp {others} -j DROP"
                ));
                let traced = trace(&syn(30001));
                assert_eq!(traced.stops, [], "{command} {others}");
                assert!(traced.complete || others.contains("MULTICAST"), "{others}");
            }
        });
    }
}

#[test]
fn what_is_not_understood_may_have_done_it() {
    for (command, _) in TOOLS {
        apart(|| {
            sh(&format!(
                "{command} -t raw -A PREROUTING -m rpfilter --invert -j DROP; \
                 {command} -A INPUT -p tcp --dport 30001 -j REJECT --reject-with tcp-reset"
            ));
            let traced = trace(&syn(30001));
            let seen: Vec<_> = traced.stops.iter().map(|s| (s.matches, s.action)).collect();
            let expected = [
                (Matches::Maybe, Action::Drop),
                (Matches::Yes, Action::RejectReset),
            ];
            assert_eq!(seen, expected);
            assert_eq!(traced.stops[0].rule.text, "-m rpfilter …");
            assert!(!traced.complete);
        });
    }
}

#[test]
fn policies_accepts_and_chains_are_followed() {
    for (command, _) in TOOLS {
        apart(|| {
            sh(&format!(
                "{command} -N allowed; {command} -A allowed -p tcp --dport 30001 -j ACCEPT; \
                 {command} -A allowed -s 10.66.0.0/16 -j RETURN; \
                 {command} -A allowed -j DROP; \
                 {command} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; \
                 {command} -A INPUT -g allowed; {command} -P INPUT DROP"
            ));
            assert_eq!(trace(&syn(30001)).stops, []);
            let policy = only(&syn(30002));
            assert_eq!(policy.rule.position, Position::Policy);
            assert_eq!(
                policy.rule.to_string().split(", ").last(),
                Some("its policy")
            );
            assert!(policy.packets.is_some());
            let mut other = syn(30002);
            other.client = "10.9.9.9".parse().unwrap();
            assert_eq!(only(&other).rule.chain, "allowed");
        });
    }
}

#[test]
fn ipv6_rules_are_read_too() {
    for (command, tool) in [
        ("ip6tables-legacy", Tool::IptablesLegacy),
        ("ip6tables-nft", Tool::IptablesNft),
    ] {
        apart(|| {
            sh(&format!(
                "{command} -A INPUT -s fd00:66::/64 -p tcp --dport 30001 -j REJECT"
            ));
            let stop = only(&syn6(30001));
            assert_eq!(stop.action, Action::RejectIcmp { code: 4 });
            assert_eq!((stop.rule.family, stop.rule.tool), (Family::Ipv6, tool));
            assert_eq!(stop.rule.text, "-s fd00:66::/64 -p tcp --dport 30001");
            assert_eq!(trace(&syn(30001)).stops, []);
        });
    }
}

const NFT: &str = r#"
table inet guard {
    set bad { type ipv4_addr; elements = { 10.66.1.6, 10.66.1.7 }; }
    set nets { type ipv4_addr; flags interval; elements = { 10.70.0.0/16, 10.80.0.1-10.80.0.9 }; }
    chain early {
        type filter hook prerouting priority -300; policy accept;
        ip saddr @bad tcp dport 30001 counter drop comment "blocked"
        ip saddr @nets drop
        ip saddr 10.90.0.0/16 tcp dport { 30005, 30010-30020 } drop
        tcp dport 30006 ip saddr != 10.66.0.0/16 drop
    }
    chain in {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname "lo" accept
        tcp dport 30002 reject with tcp reset
        tcp dport 30003 reject with icmpx admin-prohibited
        tcp dport 30004 limit rate 1/second accept
        tcp dport vmap { 30007 : jump more, 30008 : accept }
    }
    chain more { meta mark set meta mark | 0x8000
        meta mark & 0x8000 == 0x8000 counter drop
    }
}
"#;

#[test]
fn nftables_rules_are_named_by_handle() {
    apart(|| {
        run(&["nft", "-f", "-"], NFT);
        let stop = only(&syn(30001));
        assert_eq!(
            (stop.rule.family, stop.rule.tool),
            (Family::Inet, Tool::Nftables)
        );
        assert_eq!((&*stop.rule.table, &*stop.rule.chain), ("guard", "early"));
        assert!(matches!(stop.rule.position, Position::Handle(1..)));
        assert_eq!(stop.rule.text, "ip saddr @bad tcp dport 30001");
        assert_eq!(stop.rule.comment.as_deref(), Some("blocked"));
        assert_eq!(stop.rule.show(), "`nft -a list chain inet guard early`");
        assert!(stop.before_dnat && stop.matches == Matches::Yes);
        assert_eq!(only(&syn(30002)).action, Action::RejectReset);
        assert_eq!(only(&syn(30003)).action, Action::RejectIcmp { code: 13 });
        assert_eq!(only(&syn6(30003)).action, Action::RejectIcmp { code: 1 });
        let limited = trace(&syn(30004));
        assert_eq!(limited.stops[0].rule.position, Position::Policy);
        assert_eq!(limited.stops[0].matches, Matches::Maybe);
        assert_eq!(only(&syn(30007)).rule.chain, "more");
        assert_eq!(trace(&syn(30008)).stops, []);
        for (client, port, chain) in [
            ("10.70.1.1", 30008, "early"),
            ("10.80.0.9", 30008, "early"),
            ("10.90.0.9", 30015, "early"),
            ("10.90.0.9", 30021, "in"),
            ("10.80.0.10", 30009, "in"),
            ("10.9.0.1", 30006, "early"),
        ] {
            let mut syn = syn(port);
            syn.client = client.parse().unwrap();
            assert_eq!(only(&syn).rule.chain, chain, "{client}");
        }
    });
}

#[test]
fn counters_rise_between_readings() {
    for command in ["iptables-legacy", "iptables-nft"] {
        apart(|| {
            sh(&format!(
                "{command} -A INPUT -s 127.0.0.0/8 -p tcp --dport 30001 -j REJECT; \
                 {command} -A INPUT -s 127.0.0.0/8 -p tcp --dport 30001 -j DROP"
            ));
            let mut syn = syn(30001);
            syn.client = "127.0.0.1".parse().unwrap();
            syn.dialled = syn.client;
            let mut reader = Reader::default();
            let first = read(&mut reader, &[syn.clone()]).trace(&syn);
            assert_eq!(
                (first.stops[0].packets, first.stops[0].rise),
                (Some(0), None)
            );
            let address = std::net::SocketAddr::new(syn.dialled, syn.node_port);
            let patience = std::time::Duration::from_millis(100);
            for _ in 0..3 {
                assert!(std::net::TcpStream::connect_timeout(&address, patience).is_err());
            }
            // Rules before it change its number, not what it is.
            sh(&format!("{command} -I INPUT -s 10.1.1.1 -j DROP"));
            let second = read(&mut reader, &[syn.clone()]).trace(&syn);
            let stop = &second.stops[0];
            assert_eq!(stop.rule.position, Position::Number(2));
            assert_eq!((stop.packets, stop.rise), (Some(3), Some(3)), "{command}");
        });
    }
}
