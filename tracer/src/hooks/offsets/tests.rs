use super::*;
use crate::{hooks::btf::tests::btf, snapshot::SOCKET_STATE};

/// A kernel that has what the required hook needs, and no more.
const LEAST: &str = "
    struct sock_common 136, skc_dport u16 96
    struct _ 16, next ptr 0, prev ptr 64
    struct sk_buff_head 24, _ _ 0, qlen u32 128
    struct sock 760, __sk_common sock_common 0, sk_error_queue sk_buff_head 1600, sk_protocol u16 4256, sk_err u32 4096
    struct tcp_sock 2000, packets_out u32 12800
    struct sk_buff 232, cb chars 320
    struct sock_extended_err 16, ee_errno u32 0, ee_origin u8 32
    struct sock_exterr_skb 48, ee sock_extended_err 192
    pointer sock* sock
    pointer skb* sk_buff
    tracepoint inet_sock_set_state sock* u32 u32
    tracepoint tcp_retransmit_skb sock* skb* u32";

fn resolve(lines: &str) -> Result<Offsets> {
    Offsets::resolve(&btf(lines)?)
}

#[test]
fn required_member_missing_is_named() {
    let error = resolve(&LEAST.replace(", sk_err u32 4096", "")).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "sock.sk_err: this kernel has no such member"
    );
    let error = resolve(&LEAST.replace("qlen u32", "length u32")).unwrap_err();
    let expected = "sock.sk_error_queue.qlen: this kernel has no such member";
    assert_eq!(format!("{error:#}"), expected);
}

#[test]
fn required_member_of_another_shape_is_named() {
    for (change, to, begins) in [
        (
            "skc_dport u16 96",
            "skc_dport u32 96",
            "sock_common.skc_dport: expected an integer of 2 bytes",
        ),
        (
            "cb chars 320",
            "cb ptr 320",
            "sk_buff.cb: expected an array",
        ),
        (
            "sk_err u32 4096",
            "sk_err u32 4097:3",
            "sock.sk_err: expected an integer of 4 bytes",
        ),
        (
            "__sk_common sock_common 0",
            "__sk_common sock_common 64",
            "sock.__sk_common: expected a struct at the beginning",
        ),
        (
            "sk_err u32 4096",
            "sk_err u32 524288",
            "sock.sk_err: stands too far back",
        ),
    ] {
        let error = resolve(&LEAST.replace(change, to)).unwrap_err();
        assert!(format!("{error:#}").starts_with(begins), "{error:#}");
    }
}

#[test]
fn optional_members_missing_disable_their_hooks_only() {
    let found = resolve(LEAST).unwrap();
    assert!(found.values.contains(&("SKC_DPORT", 12)));
    assert!(found.values.contains(&("SK_LAST_ERROR", 208)));
    assert!(found.values.contains(&("SKC_FAMILY", ABSENT)));
    let why = found.disabled("tcp_send_reset").unwrap();
    assert_eq!(
        why,
        "sock_common.skc_family: this kernel has no such member"
    );
    assert_eq!(found.disabled(SOCKET_STATE), None);
    assert_eq!(found.disabled("tcp_v4_connect"), None);
}

#[test]
fn a_kernel_with_one_namespace_does_without() {
    let found = resolve(LEAST).unwrap();
    for global in ["NET_INUM", "SKC_NET", "CT_NET", "DEV_NET", "SKB_PKT_TYPE"] {
        assert!(found.values.contains(&(global, ABSENT)), "{global}");
    }
    let all = found.disabled.iter().map(|(_, why)| why);
    assert_eq!(all.filter(|why| why.contains("net.")).count(), 0);
    // The lowest bits of a byte, and no others.
    for (at, offset) in [("1000:3", 125), ("1001:3", ABSENT)] {
        let with = format!("cb chars 320, pkt_type u8 {at}");
        let found = resolve(&LEAST.replace("cb chars 320", &with)).unwrap();
        assert!(found.values.contains(&("SKB_PKT_TYPE", offset)), "{at}");
    }
}

#[test]
fn arguments_of_the_retransmit_tracepoint() {
    const ALL: &str = "retransmit_skb sock* skb* u32";
    let with = |line| resolve(&LEAST.replace(ALL, line)).unwrap();
    let third = |found: &Offsets| found.arguments.contains(&("RETRANSMIT_HAS_ERR", 1));
    assert!(!third(&with("retransmit_skb sock* skb*")));
    assert!(third(&with(ALL)));
    let why = |count| {
        let mut all = with(count).disabled.into_iter();
        // Behind those of its missing members.
        let last = all.rfind(|(hook, _)| *hook == "tcp_retransmit_skb");
        last.unwrap().1
    };
    for (line, expected) in [
        (
            "retransmit_skb sock* skb* u32 u32",
            "has 4 arguments, not 2 or 3",
        ),
        (
            "retransmit_skb skb* sock*",
            "argument 1 is a pointer to struct sk_buff, not a pointer to struct sock",
        ),
        (
            "retransmit_skb sock* skb* u64",
            "argument 3 is an integer of 8 bytes, not an integer of 4 bytes",
        ),
        (
            "retransmit_skc sock* skb*",
            "this kernel has no such tracepoint",
        ),
    ] {
        assert_eq!(why(line), expected, "{line}");
    }
}

#[test]
fn another_prototype_of_the_required_hook_is_named() {
    for (line, expected) in [
        ("set_state sock* u32", "has 2 arguments, not 3"),
        (
            "set_state ptr u32 u32",
            "argument 1 is a pointer, not a pointer to struct sock",
        ),
        (
            "set_state sock* u8 u32",
            "argument 2 is an integer of 1 bytes, not an integer of 4 bytes",
        ),
    ] {
        let lines = LEAST.replace("set_state sock* u32 u32", line);
        let error = resolve(&lines).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            format!("inet_sock_set_state: {expected}")
        );
    }
}

#[test]
fn prototypes_of_functions() {
    let with = |line: &str| {
        let address = "\n struct sockaddr_unsized 16\n pointer addr* sockaddr_unsized\n";
        let lines = format!("{LEAST}{address}function tcp_v4_connect {line}");
        let found = resolve(&lines).unwrap();
        found.disabled("tcp_v4_connect").map(str::to_owned)
    };
    assert_eq!(with("u32 sock* addr* u32"), None);
    for (line, expected) in [
        ("u32 sock* addr*", "has 2 arguments, not 3"),
        (
            "u32 sock* skb* u32",
            "argument 2 is a pointer to struct sk_buff, not a pointer to struct sockaddr or sockaddr_unsized",
        ),
        (
            "u64 sock* addr* u32",
            "returns an integer of 8 bytes, not an integer of 4 bytes",
        ),
    ] {
        assert_eq!(with(line).as_deref(), Some(expected), "{line}");
    }
    // BTF may lack a function; a kprobe does without.
    assert_eq!(resolve(LEAST).unwrap().disabled("tcp_v6_connect"), {
        // IPv6's members are missing there.
        Some("sock_common.skc_v6_daddr: this kernel has no such member")
    });
}

/// What the programs need of conntrack.
const CONNTRACK: &str = "
    struct addr 16, ip u32 0, _ chars 0
    struct tcp 2, port u16 0
    union proto 2, tcp tcp 0
    struct man 20, u3 addr 0, u proto 128, l3num u16 144
    struct dst 20, u3 addr 0, u proto 128, protonum u8 144
    struct nf_conntrack_tuple 40, src man 0, dst dst 160
    struct nf_conntrack_tuple_hash 56, tuple nf_conntrack_tuple 128
    struct nf_conn 256, tuplehash chars 128
    tracepoint net_dev_queue skb*";

/// `sk_buff` with conntrack's member.
fn with_conntrack(lines: &str) -> Offsets {
    let least = LEAST.replace("cb chars 320", "cb chars 320, _nfct u64 832");
    resolve(&format!("{least}{lines}")).unwrap()
}

#[test]
fn tuples_of_conntrack() {
    let found = with_conntrack(CONNTRACK);
    assert_eq!(found.disabled("net_dev_queue"), None);
    for value in [("SKB_NFCT", 104), ("CT_ORIGINAL", 32), ("CT_REPLY", 88)] {
        assert!(found.values.contains(&value), "{value:?}");
    }
}

#[test]
fn without_conntrack_its_hook_alone_is_disabled() {
    for (change, to, why) in [
        (
            "protonum u8 144",
            "protonum u8 152",
            "nf_conntrack_tuple.dst.protonum: expected an integer of 1 bytes at byte 38",
        ),
        (
            "struct nf_conn 256, tuplehash",
            "struct nf_conn 256, hashes",
            "nf_conn.tuplehash: this kernel has no such member",
        ),
        ("queue skb*", "queue skb* skb*", "has 2 arguments, not 1"),
    ] {
        let found = with_conntrack(&CONNTRACK.replace(change, to));
        let said = found.disabled("net_dev_queue").unwrap();
        assert!(said.starts_with(why), "{said}");
        let all = [
            ("SKB_NFCT", ABSENT),
            ("CT_ORIGINAL", ABSENT),
            ("CT_REPLY", ABSENT),
        ];
        assert_eq!(
            all.iter().all(|one| found.values.contains(one)),
            !why.contains("arguments")
        );
        assert_ne!(found.disabled("kfree_skb"), found.disabled("net_dev_queue"));
    }
}

#[test]
fn running_kernel_has_every_member() {
    let blob = std::fs::read(crate::hooks::KERNEL_BTF).unwrap();
    let found = Offsets::resolve(&Btf::parse(&blob).unwrap()).unwrap();
    assert_eq!(found.disabled, []);
    assert!(found.values.iter().all(|(_, offset)| *offset != ABSENT));
    // The same in every kernel so far.
    for fixed in [
        ("SKC_DADDR", 0),
        ("SKC_RCV_SADDR", 4),
        ("SKC_DPORT", 12),
        ("SKC_STATE", 18),
    ] {
        assert!(found.values.contains(&fixed), "{fixed:?}");
    }
}

/// Without a value from here a program would take its member for absent.
#[test]
fn every_offset_of_the_programs_is_resolved() {
    let sources = [
        include_str!("../../../../tracer-ebpf/src/kernel.rs"),
        include_str!("../../../../tracer-ebpf/src/kernel/packet.rs"),
        include_str!("../../../../tracer-ebpf/src/kernel/namespace.rs"),
    ];
    let lines = sources.iter().flat_map(|source| source.lines());
    let globals =
        lines.filter_map(|line| line.strip_prefix("static ")?.split_once(": Global<u16>"));
    let globals: Vec<&str> = globals.map(|(name, _)| name).collect();
    assert!(globals.len() > 20, "{globals:?}");
    let found = resolve(LEAST).unwrap();
    for global in globals {
        let resolved = found.values.iter().any(|(name, _)| *name == global);
        assert!(resolved, "{global}");
    }
}
