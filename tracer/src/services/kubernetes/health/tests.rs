use super::*;

#[test]
fn all_watches_must_be_up_to_date() {
    let health = Health::default();
    assert!(!health.is_synced());
    health.watching(Resource::Services);
    assert!(!health.is_synced(), "nothing was listed yet");
    health.listed(Resource::Services);
    assert!(!health.is_synced());
    health.listed(Resource::Slices);
    assert!(health.is_synced());
    health.failed(Resource::Slices, Trouble::Unreachable, "refused");
    assert!(!health.is_synced());
    health.watching(Resource::Slices);
    assert!(health.is_synced());
}

#[test]
fn a_list_that_is_too_old_is_counted_and_no_loss() {
    let health = Health::default();
    health.listed(Resource::Services);
    health.listed(Resource::Slices);
    health.outdated(Resource::Services, "too old");
    assert!(health.is_synced());
    health.start_over(Resource::Services);
    health.failed(Resource::Services, Trouble::Server, "500");
    health.watching(Resource::Services);
    assert!(!health.is_synced(), "the list is still missing");
    let counted: Vec<_> = health.errors().filter(|(_, n)| *n != 0).collect();
    assert_eq!(counted, [(Trouble::Gone, 1), (Trouble::Server, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_lasts_is_told_once() {
    let health = Health::default();
    let told = || health.states()[0].outdated_told;
    for _ in 0..3 {
        health.outdated(Resource::Services, "too old");
        assert!(!told(), "that is usual");
        tokio::time::advance(CALM * 2).await;
    }
    health.outdated(Resource::Services, "too old");
    for _ in 0..9 {
        tokio::time::advance(CALM / 4).await;
        health.outdated(Resource::Services, "too old");
        health.listed(Resource::Services);
        assert!(told());
    }
}

#[test]
fn each_trouble_is_told_once_until_it_is_over() {
    let health = Health::default();
    let told = |health: &Health| health.states()[0].told.clone();
    for _ in 0..3 {
        health.failed(Resource::Services, Trouble::Timeout, "late");
        health.failed(Resource::Services, Trouble::Denied, "no");
    }
    assert_eq!(told(&health), [Trouble::Timeout, Trouble::Denied]);
    health.listed(Resource::Services);
    assert_eq!(told(&health), []);
}
