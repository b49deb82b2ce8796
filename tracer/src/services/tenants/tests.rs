use proptest::{collection::vec, prelude::*};

use super::*;

fn pod(name: &str) -> Pod {
    Pod {
        namespace: "thrift".into(),
        name: name.into(),
    }
}

fn is(name: &str, ready: bool, terminating: bool) -> Present {
    Present {
        pod: pod(name),
        ready,
        terminating,
    }
}

fn address(last: u8) -> IpAddr {
    [10, 244, 0, last].into()
}

fn at(at: u64) -> Touch {
    Touch {
        first: at,
        last: at,
        terminating: None,
    }
}

/// What is listed at one address from then on.
fn tell(tenants: &mut Tenants, now: u64, present: Option<Present>) {
    let present = present.map(|is| (address(1), is)).into_iter().collect();
    let touched = [(address(1), at(now))].into();
    tenants.update(&present, &touched, now + 1);
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn one_after_the_other_holds_an_address() {
    let mut tenants = Tenants::default();
    tell(&mut tenants, 5, Some(is("a", true, false)));
    // It may have been there for years.
    assert_eq!(tenants.of(address(1))[0].from, 0);
    tell(&mut tenants, 10, Some(is("a", false, true)));
    tell(&mut tenants, 20, None);
    tell(&mut tenants, 30, Some(is("b", true, false)));
    let held = |at| {
        tenants
            .last_at(address(1), at)
            .map(|t| t.pod.name.to_string())
    };
    assert_eq!(held(0).as_deref(), Some("a"));
    assert_eq!(held(29).as_deref(), Some("a"));
    assert_eq!(held(30).as_deref(), Some("b"));
    let a = &tenants.of(address(1))[0];
    assert_eq!((a.left_at(), a.deleted_at()), (Some(10), Some(20)));
    assert_eq!(a.terminating_since, Some(10));
}

#[test]
fn readiness_comes_and_goes_without_an_end() {
    let mut tenants = Tenants::default();
    tell(&mut tenants, 5, None);
    for (now, ready, unready) in [
        // A pod that was never ready was never to be chosen, nor ever left.
        (10, false, None),
        (20, true, None),
        (30, false, Some(30)),
        (40, false, Some(30)),
        (50, true, None),
    ] {
        tell(&mut tenants, now, Some(is("a", ready, false)));
        let [a] = tenants.of(address(1)) else {
            panic!()
        };
        assert_eq!((a.from, a.unready_since, a.until), (10, unready, None));
    }
}

#[test]
fn who_moves_between_slices_was_there_all_the_time() {
    let mut tenants = Tenants::default();
    tell(&mut tenants, 5, Some(is("a", true, false)));
    tell(&mut tenants, 10, None);
    // Its labels or the Service may have changed: nobody deleted it.
    assert_eq!(tenants.of(address(1))[0].deleted_at(), None);
    tell(&mut tenants, 10 + SECOND, Some(is("a", true, false)));
    assert_eq!(tenants.len(), 1);
    assert_eq!(tenants.of(address(1))[0].until, None);
    // A pod of the same name that comes after a deleted one is another.
    tell(&mut tenants, 20 + SECOND, Some(is("a", true, true)));
    tell(&mut tenants, 30 + SECOND, None);
    tell(&mut tenants, 40 + SECOND, Some(is("a", true, false)));
    assert_eq!(tenants.len(), 2);
}

#[test]
fn ends_are_remembered_for_so_long() {
    let mut tenants = Tenants::default();
    tell(&mut tenants, 5, Some(is("a", true, false)));
    tell(&mut tenants, 10, None);
    tell(&mut tenants, KEPT + 9, None);
    assert!(tenants.knows(address(1)));
    tell(&mut tenants, KEPT + 10, None);
    assert!(!tenants.knows(address(1)));
}

#[test]
fn so_many_ends_are_remembered() {
    let mut tenants = Tenants::default();
    let many = ENDED as u32 + 100;
    let present = (0..many).map(|n| {
        let address = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        (address, is("a", true, false))
    });
    tenants.update(&present.collect(), &HashMap::new(), 1);
    assert_eq!(tenants.len(), many as usize);
    tenants.update(&HashMap::new(), &HashMap::new(), 2);
    assert!(tenants.len() <= ENDED);
}

proptest! {
    #[test]
    fn tenancies_follow_each_other_whatever_is_told(
        steps in vec((0_u64..5 * SECOND, prop::option::of((0_u8..3, any::<bool>(), any::<bool>()))), 0..80)
    ) {
        let mut tenants = Tenants::default();
        let mut now = 10;
        for (later, told) in steps {
            now += later;
            let told = told.map(|(n, ready, going)| is(["a", "b", "c"][usize::from(n)], ready, going));
            tell(&mut tenants, now, told.clone());
            let all = tenants.of(address(1));
            prop_assert!(all.len() <= EACH);
            let last = all.last();
            prop_assert_eq!(
                last.filter(|t| t.until.is_none()).map(|t| &*t.pod),
                told.as_ref().map(|t| &t.pod)
            );
            for pair in all.windows(2) {
                prop_assert!(pair[0].until.is_some_and(|until| until <= pair[1].from));
            }
            for tenancy in all {
                prop_assert!(tenancy.until.is_none_or(|until| tenancy.from <= until));
                prop_assert!(tenancy.left_at().is_none_or(|left| tenancy.from <= left));
            }
        }
    }
}
