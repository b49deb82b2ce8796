//! The watches against an API that is well, slow, denied, gone or lying.

mod api;
mod bed;
mod files;

use serde_json::{Value, json};

use self::{
    api::{Answer, Api, Then, status},
    bed::{Bed, service, slice, well},
};
use super::health::{Left, Trouble};

const WELL: [(u16, &str); 2] = [(30101, "users"), (30102, "search")];

#[test]
fn names_come_over_tls_page_by_page_and_follow_changes() {
    let api = Api::new(true);
    let pages = [
        Answer::list(7, "more", &[service("users", 5, 30101)]),
        Answer::list(7, "", &[service("search", 6, 30102)]),
    ];
    api.answers("list services", pages);
    let events = [
        ("ADDED", service("feed", 10, 30103)),
        (
            "BOOKMARK",
            json!({"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": "12"}}),
        ),
        ("MODIFIED", service("search", 13, 30104)),
        ("DELETED", service("users", 14, 30101)),
    ];
    api.answers("watch services", [Answer::watch(&events, Then::Hold)]);
    // As before Kubernetes 1.21: there is no v1.
    let slices = [slice("search", 8, "10.244.0.2", "search-0")];
    api.answers("list v1beta1", [Answer::list(9, "", &slices)]);
    api.answers("watch v1beta1", [Answer::watch(&[], Then::Hold)]);
    let bed = Bed::new("tls", &api);
    bed.wait_names(&[(30103, "feed"), (30104, "search")]);
    bed.wait_synced(true);
    bed.wait("a pod", |bed| {
        bed.pod("10.244.0.2").as_deref() == Some("thrift/search-0")
    });
    assert_eq!(bed.errors(Trouble::Absent), 0);
    let asked = api.asked();
    let watched = asked.iter().filter(|asked| asked.starts_with("watch "));
    for watched in watched {
        assert!(watched.contains("allowWatchBookmarks=true"), "{watched}");
    }
    assert!(
        asked.iter().any(|asked| asked.contains("continue=more")),
        "{asked:?}"
    );
}

#[test]
fn a_stranger_is_not_believed() {
    let api = Api::new(true);
    well(&api);
    let bed = Bed::trusting("stranger", &api, "other.pem");
    bed.wait("trouble", |bed| {
        bed.health().errors().any(|(_, count)| count > 0)
    });
    assert!(bed.names().is_empty() && !bed.health().is_synced());
    assert!(api.asked().is_empty());
}

#[test]
fn a_watch_that_breaks_goes_on_where_it_was() {
    let api = Api::new(false);
    well(&api);
    let bookmark =
        json!({"kind": "Service", "apiVersion": "v1", "metadata": {"resourceVersion": "12"}});
    let watches = [
        Answer::watch(&[("BOOKMARK", bookmark)], Then::Cut),
        Answer::watch(&[("ADDED", service("feed", 20, 30103))], Then::Close),
        Answer::watch(&[], Then::Hold),
    ];
    api.answers("watch services", watches);
    let bed = Bed::new("breaks", &api);
    bed.wait_names(&[WELL[0], WELL[1], (30103, "feed")]);
    bed.wait("the third watch", |_| {
        let asked = api.asked();
        asked
            .iter()
            .filter(|asked| asked.starts_with("watch services"))
            .count()
            == 3
    });
    let asked = api.asked();
    let watches = asked
        .iter()
        .filter(|asked| asked.starts_with("watch services"));
    for (watch, version) in watches.zip(["7", "12", "20"]) {
        assert!(
            watch.ends_with(&format!("resourceVersion={version}")),
            "{watch}"
        );
    }
    let lists = asked
        .iter()
        .filter(|asked| asked.starts_with("list services"));
    assert_eq!(lists.count(), 1);
    bed.wait_synced(true);
}

#[test]
fn what_is_too_old_is_listed_anew_while_the_names_stay() {
    for (name, gone) in [
        (
            "gone-event",
            Answer::watch(
                &[("ERROR", status(410, "Expired", "too old resource version"))],
                Then::Close,
            ),
        ),
        (
            "gone-answer",
            Answer::status(410, "Expired", "too old resource version"),
        ),
    ] {
        let api = Api::new(false);
        well(&api);
        let again = [service("users", 5, 30101), service("feed", 30, 30103)];
        let lists = [
            Answer::list(
                7,
                "",
                &[service("users", 5, 30101), service("search", 6, 30102)],
            ),
            Answer::list(31, "", &again),
        ];
        api.answers("list services", lists);
        api.answers("watch services", [gone, Answer::watch(&[], Then::Hold)]);
        let bed = Bed::new(name, &api);
        bed.wait_names(&[WELL[0], (30103, "feed")]);
        bed.wait_synced(true);
        assert_eq!(bed.errors(Trouble::Gone), 1);
    }
}

#[test]
fn names_stay_while_the_api_is_gone_and_follow_when_it_is_back() {
    let api = Api::new(false);
    well(&api);
    let bed = Bed::new("away", &api);
    bed.wait_names(&WELL);
    bed.wait_synced(true);
    bed.wait("a pod", |bed| bed.pod("10.244.0.2").is_some());
    api.is_gone(true);
    bed.wait_synced(false);
    bed.wait("a second try", |bed| bed.errors(Trouble::Unreachable) >= 2);
    assert_eq!(bed.names().len(), 2);
    assert!(bed.pod("10.244.0.2").is_some());
    api.answers(
        "watch services",
        [Answer::watch(
            &[("DELETED", service("users", 40, 30101))],
            Then::Hold,
        )],
    );
    api.is_gone(false);
    bed.wait_names(&[WELL[1]]);
    bed.wait_synced(true);
}

#[test]
fn who_is_denied_has_the_names_once_that_is_over() {
    let api = Api::new(false);
    well(&api);
    let denied = "services is forbidden: User \"system:serviceaccount:tracer:tracer\" cannot list \
                  resource \"services\" in API group \"\" at the cluster scope";
    let list = Answer::list(7, "", &[service("users", 5, 30101)]);
    api.answers(
        "list services",
        [Answer::status(403, "Forbidden", denied), list],
    );
    let bed = Bed::new("denied", &api);
    bed.wait("denied", |bed| bed.errors(Trouble::Denied) == 1);
    bed.wait_names(&[WELL[0]]);
    bed.wait_synced(true);
}

#[test]
fn lies_are_left_out_and_the_rest_is_taken() {
    let api = Api::new(false);
    well(&api);
    let mut items = vec![
        json!(7),
        json!(null),
        json!({"metadata": "x"}),
        service("users", 5, 30101),
    ];
    let mut odd = service("odd", 6, 30105);
    odd["spec"]["ports"] =
        json!([{"nodePort": 70_000}, {"nodePort": "30106"}, {"nodePort": 30107, "name": "a\nb"}]);
    items.push(odd);
    items.push(service(&"x".repeat(300), 6, 30108));
    let lists = [
        Answer::Whole(200, "{\"items\": [".to_owned()),
        Answer::Whole(200, "[]".to_owned()),
        Answer::list(7, "", &items),
    ];
    api.answers("list services", lists);
    let bed = Bed::new("lies", &api);
    bed.wait_names(&[WELL[0]]);
    bed.wait_synced(true);
    assert_eq!(bed.errors(Trouble::Invalid), 2);
    let unusable = bed
        .health()
        .left_out()
        .find(|(left, _)| *left == Left::Unusable);
    assert!(unusable.unwrap().1 >= 6, "{unusable:?}");
}

#[test]
fn an_event_that_cannot_be_read_makes_a_new_list() {
    let api = Api::new(false);
    well(&api);
    let lists = [
        Answer::list(7, "", &[service("users", 5, 30101)]),
        Answer::list(
            9,
            "",
            &[service("users", 5, 30101), service("feed", 8, 30103)],
        ),
    ];
    api.answers("list services", lists);
    let garbage = Answer::Watch(
        vec!["{\"type\":\"ADDED\",\"object\":}\n".to_owned()],
        Then::Hold,
    );
    api.answers("watch services", [garbage, Answer::watch(&[], Then::Hold)]);
    let bed = Bed::new("garbage", &api);
    bed.wait_names(&[WELL[0], (30103, "feed")]);
    bed.wait_synced(true);
    assert_eq!(bed.errors(Trouble::Invalid), 1);
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    let api = Api::new(false);
    well(&api);
    let list = Answer::list(7, "", &[service("users", 5, 30101)]);
    api.answers("list services", [Answer::Endless, list]);
    let watches = [
        Answer::Endless,
        Answer::watch(&[("ADDED", service("feed", 8, 30103))], Then::Hold),
    ];
    api.answers("watch services", watches);
    let bed = Bed::new("endless", &api);
    bed.wait_names(&[WELL[0], (30103, "feed")]);
    assert_eq!(bed.errors(Trouble::TooLarge), 2);
}

/// How often something was asked for.
fn asked(api: &Api, what: &str) -> usize {
    let asked = api.asked();
    asked.iter().filter(|asked| asked.starts_with(what)).count()
}

#[test]
fn a_list_that_goes_on_for_ever_is_given_up_and_tried_later() {
    let api = Api::new(false);
    well(&api);
    let page = Answer::list(7, "more", &[service("users", 5, 30101)]);
    api.answers("list services", [page]);
    let bed = Bed::new("pages", &api);
    bed.wait("a second try", |bed| bed.errors(Trouble::TooLarge) == 2);
    // Two pages a try, and there may be a third try by now.
    assert!((4..=6).contains(&asked(&api, "list services")));
    assert!(bed.names().is_empty() && !bed.health().is_synced());
    let list = Answer::list(7, "", &[service("users", 5, 30101)]);
    api.answers("list services", [list]);
    bed.wait_names(&[WELL[0]]);
    bed.wait_synced(true);
}

#[test]
fn who_finds_everything_too_old_is_asked_less_and_less() {
    let api = Api::new(false);
    well(&api);
    let gone = Answer::status(410, "Expired", "too old resource version");
    for what in ["list services", "watch v1"] {
        api.answers(what, [gone.clone()]);
    }
    let bed = Bed::new("too-old", &api);
    bed.wait("tries", |bed| bed.errors(Trouble::Gone) >= 6);
    assert!(!bed.health().is_synced(), "there is no list of Services");
    // The lists that go with the watches, and one more that may be on its way.
    let (lists, watches) = (asked(&api, "list v1"), asked(&api, "watch v1"));
    assert!(lists <= watches + 1, "{lists} {watches}");
    assert!(watches + asked(&api, "list services") <= 8);
}

#[test]
fn stopping_waits_for_nobody() {
    let api = Api::new(false);
    api.answers("list services", [Answer::Hang]);
    api.answers("list v1", [Answer::Hang]);
    let mut bed = Bed::new("hangs", &api);
    bed.wait("both to be asked", |_| api.asked().len() == 2);
    drop(bed.kubernetes.take());
    assert!(bed.names().is_empty());
}

#[test]
fn thousands_of_services_have_names() {
    let api = Api::new(false);
    well(&api);
    let all: Vec<Value> = (30_000..32_768)
        .map(|port| service(&format!("s{port}"), 5, port))
        .collect();
    api.answers("list services", [Answer::list(7, "", &all)]);
    let bed = Bed::new("thousands", &api);
    bed.wait("all of them", |bed| bed.names().len() == all.len());
}
