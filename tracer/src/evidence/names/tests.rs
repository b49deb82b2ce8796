use super::*;

const SHOWN: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81a00ff0 t __pfx_nft_do_chain
ffffffff81a01000 t nft_do_chain
ffffffff81a02000 d some_data
ffffffff81b00000 T ip_error.part.0
ffffffff81b00000 T alias_of_it
00000000 T short
ffffffffc0000000 t cold_one.cold\t[nf_tables]
";

fn found(lows: &[u32]) -> Vec<Option<String>> {
    let mut wanted = lows.iter().map(|low| (*low, None)).collect();
    search(SHOWN.as_bytes(), &mut wanted).unwrap();
    let name = |low| wanted[low].as_ref().map(|symbol| symbol.name.clone());
    lows.iter().map(name).collect()
}

#[test]
fn nearest_function_at_or_below() {
    let lows = [0x81a0_1000, 0x81a0_2345, 0x81b0_0010, 0xc000_0001];
    let names = ["nft_do_chain", "nft_do_chain", "ip_error", "cold_one"];
    assert_eq!(found(&lows), names.map(|name| Some(name.to_owned())));
}

#[test]
fn nothing_near_is_none() {
    assert_eq!(
        found(&[0x8101_0001, 0x80ff_ffff, 0xffff_ffff]),
        [None, None, None]
    );
}

#[test]
fn hidden_addresses_are_told() {
    assert!(shows_addresses(SHOWN.as_bytes()).unwrap());
    let hidden = SHOWN.replace("ffffffff81", "0000000000");
    assert!(!shows_addresses(hidden.as_bytes()).unwrap());
    assert!(!shows_addresses(&b""[..]).unwrap());
}

#[test]
fn running_kernel_names_its_own() {
    let mut names = Names::read();
    let reasons: Vec<&String> = names.drop_reasons.values().collect();
    // Kernels before 5.17 have none.
    if !reasons.is_empty() {
        assert!(
            reasons.iter().any(|name| *name == "NO_SOCKET"),
            "{reasons:?}"
        );
    }
    if let Some(why) = names.location_absent() {
        assert!(why.contains("CAP_SYSLOG"), "{why}");
        return;
    }
    let symbols = std::fs::read_to_string(SYMBOLS).unwrap();
    let address = symbols
        .lines()
        .filter_map(text_symbol)
        .find(|(_, name)| *name == "ip_rcv")
        .map(|(address, _)| address)
        .unwrap();
    let low = address as u32;
    assert_eq!(names.location(low + 8).as_deref(), Some("ip_rcv"));
    assert_eq!(names.places.len(), 1);
}
