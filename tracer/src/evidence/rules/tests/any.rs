//! Whatever the kernel, or whoever wrote the rules, says.

use proptest::{collection::vec, prelude::*};

use super::bed::syn;
use crate::evidence::rules::{
    legacy,
    nft::Builder,
    table::{Op, Tables},
    walk::Walk,
    xt::{self, Extension},
};

const NAMES: [&str; 14] = [
    "tcp",
    "multiport",
    "mark",
    "state",
    "conntrack",
    "addrtype",
    "iprange",
    "pkttype",
    "comment",
    "MARK",
    "CONNMARK",
    "REJECT",
    "DNAT",
    "CT",
];

fn walk(tables: &Tables) {
    Walk::new(tables, None, &syn(30001)).run(&syn(30001));
}

/// Valid lengths and kinds make it further than noise does.
fn attributes(depth: u32) -> impl Strategy<Value = Vec<u8>> {
    let leaf = vec(any::<u8>(), 0..40);
    leaf.prop_recursive(depth, 64, 6, |inner| {
        vec((0_u16..10, inner), 0..6).prop_map(|all| {
            let each = all
                .iter()
                .map(|(k, v)| crate::evidence::netlink::attribute(*k, v));
            each.collect::<Vec<_>>().concat()
        })
    })
}

proptest! {
    #[test]
    fn extensions(name in 0..NAMES.len(), revision in 0_u8..4, v6: bool, data in vec(any::<u8>(), 0..200)) {
        let of = Extension { name: NAMES[name], revision, data: &data, v6 };
        let mut ops: Vec<Op> = Vec::new();
        xt::matched(of, &mut ops, &mut None);
        xt::target(of, &mut ops);
    }

    #[test]
    fn blobs(info in vec(any::<u8>(), 84), blob in vec(any::<u8>(), 0..600), v6: bool, size in 112_u16..300) {
        let mut blob = blob;
        // An entry that is as long as it says.
        let at = if v6 { 140 } else { 88 };
        if let Some(cell) = blob.get_mut(at..at + 4) {
            cell[..2].copy_from_slice(&(size - size % 8).to_ne_bytes());
            cell[2..].copy_from_slice(&(size + 40).to_ne_bytes());
        }
        let mut tables = Tables::default();
        if let Some(info) = legacy::Info::parse(&info) {
            let (block, _) = legacy::add(&mut tables, v6, "filter", &info, (blob, 0));
            block.read_all(&mut tables);
        }
        walk(&tables);
    }

    #[test]
    fn messages(table in attributes(2), chain in attributes(3), set in attributes(2), rules in vec(attributes(5), 0..4)) {
        let mut builder = Builder::default();
        let message = |bytes: &[u8]| [&[2, 0, 0, 0], bytes].concat();
        let named = crate::evidence::netlink::attribute;
        let name = named(1, b"t\0");
        builder.add_table(&message(&[&*name, &table].concat()));
        let hook = named(4, &[named(1, &[0, 0, 0, 0]), named(2, &[0; 4])].concat());
        builder.add_chain(&message(&[&*name, &named(3, b"c\0"), &hook, &chain].concat()));
        builder.add_set(&message(&[&*name, &named(2, b"s\0"), &set].concat()));
        for rule in &rules {
            let rule = [&*name, &named(2, b"c\0"), rule].concat();
            builder.add_rule(0, &message(&rule));
        }
        let mut elements = Vec::new();
        builder.add_elements(0, &message(&set), &mut elements);
        walk(&builder.tables);
    }
}
