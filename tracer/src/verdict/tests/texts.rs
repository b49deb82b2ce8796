//! What people read.

use tracer_common::failure::{Reply::BackendRst, seen};

use super::{
    super::{Finding, Verdict, judge},
    bed::{Bed, Make as _, PORT, bed, icmp, pod, refused, silent},
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
    let finding = wrong_port(|pod| pod.loopback_only = true);
    assert_eq!(
        finding.next,
        "Make the server listen on 0.0.0.0:9090 (or [::]:9090), not on loopback."
    );
}

#[test]
fn queue_against_its_limit() {
    let finding = only(&bed([silent().to(pod())]).with(|pod| {
        pod.listener = Some(Listener {
            queue: 129,
            limit: 128,
        });
        pod.namespace = Namespace {
            listen_overflows: 7,
            listen_drops: 7,
            ..Namespace::default()
        };
    }));
    assert_eq!(
        finding.evidence[1],
        "ListenOverflows in the pod's namespace rose by 7; the accept queue of 10.244.1.2:9090 \
         holds 129 of 129."
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
