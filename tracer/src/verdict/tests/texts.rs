//! What people read.

use tracer_common::failure::{
    Failure::{ClosedAtOnce, Unanswered},
    Reply::BackendRst,
    seen,
};

use super::{
    super::{Finding, Verdict, judge},
    bed::{Bed, Make as _, PORT, bed, icmp, pod, refused, row, silent},
};
use crate::{
    evidence::{Listener, Namespace, Pod},
    services::Table,
};

fn only(bed: &Bed) -> Finding {
    let mut judgement = judge(&bed.0);
    assert_eq!(judgement.findings.len(), 1);
    judgement.findings.remove(0)
}

fn wrong_port(change: impl FnOnce(&mut Pod)) -> Finding {
    let row = refused(BackendRst)
        .to(pod())
        .reset(seen::RESET_CLIENT, "NO_SOCKET");
    only(&bed([row]).with(|pod| {
        pod.listener = None;
        pod.listens_on = vec![9092];
        change(pod);
    }))
}

#[test]
fn wrong_target_port() {
    let finding = wrong_port(|_| {});
    assert_eq!(
        finding.evidence,
        [
            "Of 40 attempts that were sent to 10.244.1.2:9090 in 60 s: 3 refused by a RST from \
             behind this node.",
            "The pod's own TCP stack on this node sent the RST (NO_SOCKET).",
            "No rule of this node rejected it, and the Service has endpoints and rules here. The \
             pod listens on 9092 only.",
        ]
    );
    assert!(
        finding
            .next
            .starts_with("Service targetPort is 9090, the pod listens on 9092: fix one of them"),
        "{}",
        finding.next
    );
}

#[test]
fn no_more_fail_than_were_tried() {
    let first = &only(&bed([refused(BackendRst)]).attempts(2)).evidence[0];
    assert!(first.starts_with("Of 3 attempts at port"), "{first}");
}

#[test]
fn names_stand_in_next_steps() {
    let row = refused(BackendRst)
        .to(pod())
        .reset(seen::RESET_CLIENT, "NO_SOCKET");
    let mut bed = bed([row, icmp(3)]).with(|pod| {
        pod.listener = None;
        pod.listens_on.clear();
    });
    let mut names = Table::named(PORT, "thrift", "users", "api");
    names.name_pod(pod().ip(), "thrift", "users-0");
    names.check(PORT, PORT + 1);
    bed.0.names = names.into();
    let findings = judge(&bed.0).findings;
    let next = |verdict| {
        let mut found = findings.iter().filter(|f| f.verdict == verdict);
        &found.next().unwrap().next
    };
    assert_eq!(
        next(Verdict::NothingListens),
        "See why the server does not run: `kubectl -n thrift get pod users-0 -o wide`, then \
         `kubectl -n thrift logs users-0`."
    );
    let endpoints = "`kubectl -n thrift get svc users` names the Service; `kubectl -n thrift get \
                     endpointslices -l kubernetes.io/service-name=users` shows whether";
    let told = next(Verdict::NoEndpoints);
    assert!(told.starts_with(endpoints), "{told}");
    for finding in &findings {
        assert_eq!(finding.service.as_deref(), Some("thrift/users:api"));
        let pod = finding.backend.map(|_| "thrift/users-0");
        assert_eq!(finding.pod.as_deref(), pod);
        let told = &finding.evidence[1];
        let expected = format!(
            "The load balancer's health check goes to port {} only:",
            PORT + 1
        );
        assert!(told.starts_with(&expected), "{told}");
    }
}

#[test]
fn loopback_only() {
    let at = |at: &str| {
        let at = at.parse().unwrap();
        let told = wrong_port(|pod| pod.listens_only_at = Some(at));
        (told.evidence[2].clone(), told.next)
    };
    let make = "Make the server listen on 0.0.0.0:9090 (or [::]:9090, which takes both), not";
    for (listens, says, not) in [
        ("127.0.0.1", "at loopback", "on loopback"),
        ("::", "at IPv6 addresses", "at IPv6 addresses alone"),
        ("10.9.9.9", "at 10.9.9.9", "at 10.9.9.9 alone"),
    ] {
        let (told, next) = at(listens);
        assert!(
            told.ends_with(&format!("The pod listens on 9090 {says} only.")),
            "{told}"
        );
        assert_eq!(next, format!("{make} {not}."));
    }
}

#[test]
fn queue_against_its_limit() {
    let finding = only(&bed([silent().to(pod())]).with(|pod| {
        pod.listener = Some(Listener {
            queue: 129,
            limit: 128,
            drops: 9,
        });
        pod.namespace = Namespace {
            listen_overflows: 7,
            listen_drops: 7,
            ..Namespace::default()
        };
    }));
    assert_eq!(
        finding.evidence[1],
        "ListenOverflows in the pod's namespace rose by 7; the listener at 10.244.1.2:9090 has \
         dropped 9 of its own so far; its accept queue holds 129 of 129."
    );
}

#[test]
fn beyond_this_node() {
    let finding = only(&bed([silent().to(pod())]).beyond());
    assert_eq!(
        finding.evidence[1],
        "Sent on to 10.244.1.2:9090 beyond this node; nothing came back."
    );
}

#[test]
fn the_port_is_named_where_there_is_no_backend() {
    let finding = only(&bed([icmp(3)]));
    assert_eq!(
        finding.evidence[0],
        "Of 40 attempts at port 30102 in 60 s: 3 answered with ICMP destination unreachable."
    );
    assert!(finding.next.contains("30102"), "{}", finding.next);
}

#[test]
fn who_reset_a_connection_and_who_completed_it() {
    let reset = || row(ClosedAtOnce).to(pod()).count(10).reply(BackendRst, 0);
    let unread = reset().reset(seen::RESET_PROCESS, "TCP_ABORT_ON_CLOSE");
    let unnamed = reset().reset(seen::RESET_PROCESS, "");
    let no_socket = reset().reset(seen::RESET_CLIENT, "NO_SOCKET");
    let fin = row(ClosedAtOnce).to(pod()).count(10);
    let all = bed([unread, no_socket, fin, reset()]);
    assert_eq!(
        only(&all.here()).evidence[1..3],
        [
            "The backend's own sockets on this node completed 40 handshakes in that time.",
            "10.244.1.2:9090 closed 40 of 40 connections before it had sent a byte, and before \
             the client closed: 10 with FIN, 10 with a RST of the pod's stack, which knew no such \
             connection (NO_SOCKET), 10 with a RST of the process's own (closed with bytes unread; \
             TCP_ABORT_ON_CLOSE), 10 with a RST that no socket of this kernel is known to have \
             made.",
        ]
    );
    let all = [unnamed.clone(), unnamed.clone(), unnamed.clone(), unnamed];
    let fact = &only(&bed(all).here()).evidence[2];
    let by_process =
        ": 40 with a RST of the process's own (closed with SO_LINGER 0 or with bytes unread).";
    assert!(fact.ends_with(by_process), "{fact}");
}

#[test]
fn handshakes_that_no_socket_here_completed() {
    let spoilt = || bed([row(ClosedAtOnce).to(pod()).count(40)]);
    for (bed, says) in [
        (
            spoilt().beyond().opens(0),
            "the backend is on another node.",
        ),
        (
            spoilt().here().opens(0),
            "never became a connection in the pod.",
        ),
        (
            spoilt().with(|pod| pod.listener = None).opens(0),
            "or something else holds its connections (a proxy, a sandbox with its own TCP stack).",
        ),
    ] {
        let told = &only(&bed).evidence[1];
        assert!(told.ends_with(says), "{told}");
    }
    // Attempts from before the window say nothing.
    let stalled = bed([row(Unanswered).to(pod())]);
    let old = only(&stalled.another(2, 0, |pod| pod.unread = 3));
    assert!(old.evidence[1].starts_with("In the pod"), "{old:?}");
}
