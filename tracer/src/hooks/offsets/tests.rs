use super::*;
use crate::hooks::btf::tests::btf;

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
    tracepoint tcp_retransmit_skb 3";

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
fn arguments_of_the_retransmit_tracepoint() {
    let with = |count| resolve(&LEAST.replace("skb 3", count)).unwrap();
    assert_eq!(with("skb 2").retransmit_has_err, 0);
    assert_eq!(with("skb 3").retransmit_has_err, 1);
    let disabled = |count| with(count).disabled.pop().unwrap();
    assert_eq!(disabled("skb 4").1, "has 4 arguments, not 2 or 3");
    assert_eq!(disabled("skc 2").1, "this kernel has no such tracepoint");
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
