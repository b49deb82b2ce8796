use proptest::{collection::vec, prelude::*};

use super::*;

#[test]
fn attributes_come_back_as_written() {
    let bytes = [
        attribute(1, &[7]),
        nested(2, &[attribute(3, b"abcd"), attribute(4, &[])]),
    ]
    .concat();
    let all: Vec<_> = Attributes(&bytes).collect();
    assert_eq!(all[0], (1, &[7][..]));
    let inner: Vec<_> = Attributes(all[1].1).collect();
    assert_eq!(inner, [(3, &b"abcd"[..]), (4, &[][..])]);
    assert_eq!(Attributes(&bytes).find(5), None);
}

#[test]
fn a_request_is_one_message() {
    let bytes = Request::dump(20, &[1, 2, 3, 4]).with(9, &[5]).encode(77);
    let all: Vec<_> = Messages(&bytes).collect();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].kind, all[0].sequence), (20, 77));
    assert_eq!(Attributes::after(all[0].payload, 4).find(9), Some(&[5][..]));
}

#[test]
fn refusals_name_the_errno() {
    let code = (-(Errno::EPERM as i32)).to_ne_bytes();
    assert_eq!(refusal(&code), Err(Failed::Kernel(Errno::EPERM)));
    assert_eq!(refusal(&[0; 20]), Ok(()));
    assert_eq!(refusal(&[]), Err(Failed::Kernel(Errno::EBADMSG)));
    assert!(refusal(&i32::MIN.to_ne_bytes()).is_err());
}

#[test]
fn a_dump_may_end_with_an_error() {
    let code = (-(Errno::ENOENT as i32)).to_ne_bytes();
    assert_eq!(end(&code), Err(Failed::Kernel(Errno::ENOENT)));
    assert_eq!(end(&[0; 4]), Ok(()));
    assert_eq!(end(&[]), Ok(()));
}

proptest! {
    #[test]
    fn any_bytes_end_and_stay_within(bytes in vec(any::<u8>(), 0..300)) {
        let attributes: usize = Attributes(&bytes).map(|(_, v)| v.len() + 4).sum();
        prop_assert!(attributes <= bytes.len());
        let messages: usize = Messages(&bytes).map(|m| m.payload.len() + HEADER).sum();
        prop_assert!(messages <= bytes.len());
    }
}
