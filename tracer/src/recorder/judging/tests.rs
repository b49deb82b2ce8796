use tracer_common::failure::FailureKey;

use super::*;
use crate::verdict::tests::bed::row;

#[test]
fn a_context_that_knows_fewer_is_read_anew_after_a_second() {
    let kind = |node_port| Kind {
        key: FailureKey::default(),
        node_port,
        dialled: None,
        interface: None,
        backend: None,
    };
    let mut judging = Judging::new(1, None);
    let stale = |judging: &Judging, port, count| judging.stale([(&kind(port), count)].into_iter());
    assert!(stale(&judging, 30080, 1));
    let known = Row {
        node_port: 30080,
        count: 100,
        ..row(Failure::Unacked)
    };
    judging.rows.insert(kind(30080), 0);
    judging.context.rows.push(known);
    let ago = |age| Instant::now().checked_sub(age);
    judging.asked = ago(2 * NEW);
    assert!(!stale(&judging, 30080, 100));
    assert!(stale(&judging, 30080, 101));
    assert!(stale(&judging, 30081, 1));
    judging.asked = ago(NEW / 2);
    assert!(!stale(&judging, 30080, 101));
    judging.asked = ago(GOOD);
    assert!(stale(&judging, 30080, 1));
    assert!(!judging.stale(std::iter::empty()));
}
