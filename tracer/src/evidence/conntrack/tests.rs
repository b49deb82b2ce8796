use proptest::{collection::vec, prelude::*};

use super::*;

fn counter(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

#[test]
fn statistics_are_summed_over_cpus() {
    let cpu = [
        vec![0; NFGENMSG],
        counter(2, 1000),
        counter(CTA_STATS_INVALID, 1),
        counter(CTA_STATS_INSERT_FAILED, 2),
        counter(CTA_STATS_DROP, 3),
        counter(CTA_STATS_EARLY_DROP, 4),
    ]
    .concat();
    let mut totals = Conntrack::default();
    add_cpu(&mut totals, &cpu);
    add_cpu(&mut totals, &cpu);
    let sizes = [vec![0; NFGENMSG], counter(1, 70), counter(2, 262_144)].concat();
    take_sizes(&mut totals, &sizes);
    let expected = Conntrack {
        count: 70,
        peak: 0,
        max: 262_144,
        insert_failed: 4,
        drop: 6,
        early_drop: 8,
        invalid: 2,
    };
    assert_eq!(totals, expected);
}

fn reply(source: IpAddr, state: u8) -> Vec<u8> {
    let ports = [attribute(1, &[6]), attribute(2, &9090_u16.to_be_bytes())];
    let tcp = nested(CTA_PROTOINFO_TCP, &[attribute(1, &[state])]);
    [
        vec![0; NFGENMSG],
        nested(CTA_TUPLE_ORIG, &[nested(1, &addresses(source, source))]),
        nested(
            CTA_TUPLE_REPLY,
            &[nested(1, &addresses(source, source)), nested(2, &ports)],
        ),
        nested(CTA_PROTOINFO, &[tcp]),
    ]
    .concat()
}

#[test]
fn the_reply_tells_the_backend() {
    for address in ["10.1.2.3", "fd00::3"] {
        let address: IpAddr = address.parse().unwrap();
        let entry = parse_entry(&reply(address, 3), 30102).unwrap();
        assert_eq!(entry.backend, SocketAddr::new(address, 9090));
        assert_eq!((entry.node_port, &*entry.state), (30102, "ESTABLISHED"));
    }
    let odd = parse_entry(&reply([10, 1, 2, 3].into(), 200), 1).unwrap();
    assert_eq!(odd.state, "UNKNOWN");
}

#[test]
fn addresses_of_flows() {
    assert_eq!(ip(Addr::v4([10, 1, 2, 3])), IpAddr::from([10, 1, 2, 3]));
    assert_eq!(ip(Addr::v6([0xfd; 16])), IpAddr::from([0xfd; 16]));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        let mut totals = Conntrack::default();
        add_cpu(&mut totals, &bytes);
        take_sizes(&mut totals, &bytes);
        parse_entry(&bytes, 1);
    }

    #[test]
    fn a_damaged_entry_is_survived(at in 0_usize..160, byte: u8) {
        let mut bytes = reply([10, 1, 2, 3].into(), 3);
        if let Some(cell) = bytes.get_mut(at) {
            *cell = byte;
        }
        parse_entry(&bytes, 1);
    }
}
