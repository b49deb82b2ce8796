//! Pods that come and go under load, behind rules as kube-proxy writes them and an API
//! that tells of each change: what fails has the right name, and nobody else is blamed.

#[path = "pods/api.rs"]
mod api;
#[path = "pods/bed.rs"]
mod bed;
#[path = "pods/told.rs"]
mod told;

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use testbed::{Tracer, process::poll_until, topology::PodLink};

use bed::{Bed, Calls, Node, SOON};
use told::{events, explained, named};

const STEP: Duration = Duration::from_millis(300);
/// For a moment there is neither the REJECT of before nor the DNAT of after: each table
/// is written for itself, by the real one too.
const BETWEEN: &str = "no_service_rule";
const SECOND: Duration = Duration::from_secs(1);

/// Works on the pods under calls, with a daemon that knows the API.
fn calling<'a>(
    node: &'a Node,
    bed: &mut Bed<'_>,
    timeout: &str,
    limit: Duration,
    work: impl FnOnce(&mut Bed<'_>) -> Result<()>,
) -> Result<(Tracer<'a>, Calls)> {
    let tracer = node.trace(timeout)?;
    poll_until(SECOND * 20, "no names", || {
        let synced = tracer.metrics()?.get("tracer_kubernetes_synced", &[]);
        Ok((synced == Some(1.0)).then_some(()))
    })?;
    let ((), calls) = node.calling(limit, || {
        sleep(SECOND);
        work(bed)
    })?;
    ensure!(calls.answered > 0, "nothing was answered: {calls:?}");
    Ok((tracer, calls))
}

/// Each pod is replaced by one with another address; its server stops at SIGTERM.
fn rolling_update(port: u16, link: PodLink) -> Result<()> {
    let node = Node::new(port, link)?;
    let mut bed = node.running(3)?;
    let (tracer, calls) = calling(&node, &mut bed, "1s", SOON, |bed| {
        for i in 0..3 {
            bed.start_pod(3 + i)?;
            bed.sync()?;
            bed.retire(&format!("users-{i}"), STEP)?;
        }
        Ok(())
    })?;
    let events = events(&tracer)?;
    let failed = events.iter().filter(|e| e.is_attempt());
    let told = failed.clone().count();
    let seen = calls.refused + calls.silent;
    ensure!(told == seen, "{told} told of {calls:?}");
    ensure!(calls.refused > 0 && calls.silent > 0, "{calls:?}");
    named(&tracer, &events, &["pod_terminating", "pod_gone"])?;
    for event in failed {
        let pod = event.pod.as_deref();
        let old = pod.is_some_and(|p| {
            ["users-0", "users-1", "users-2"]
                .iter()
                .any(|o| p.ends_with(o))
        });
        ensure!(old, "{event:?}");
    }
    Ok(())
}

#[test]
fn rolling_update_on_a_bridge() -> Result<()> {
    rolling_update(31801, PodLink::Bridge)
}

#[test]
fn rolling_update_with_routes() -> Result<()> {
    rolling_update(31802, PodLink::Veth)
}

/// A pod gets the address of one that is gone, whose MAC the node still has.
#[test]
fn an_address_is_used_again() -> Result<()> {
    let node = Node::new(31803, PodLink::Bridge)?;
    let mut bed = node.running(3)?;
    let (tracer, calls) = calling(&node, &mut bed, "1s", SOON, |bed| {
        bed.retire("users-0", STEP / 2)?;
        sleep(SECOND);
        bed.start_pod(0)?;
        bed.sync()?;
        sleep(SECOND * 3);
        Ok(())
    })?;
    ensure!(
        calls.silent > 0,
        "the neighbour entry led to the new pod: {calls:?}"
    );
    let events = events(&tracer)?;
    named(&tracer, &events, &["pod_terminating", "pod_gone"])?;
    let reached = events.iter().filter(|e| e.is_attempt());
    let passed_on = reached.filter(|e| e.pod.as_deref() == Some("thrift/users-3"));
    ensure!(
        passed_on.count() > 0,
        "no SYN was sent to the former holder's MAC"
    );
    let told = explained(&tracer)?;
    ensure!(told.contains("thrift/users-0"), "{told}");
    Ok(())
}

/// A pod with a wrong port goes, and another that is well gets its address.
#[test]
fn the_innocent_is_not_blamed() -> Result<()> {
    let node = Node::new(31804, PodLink::Veth)?;
    let mut bed = node.running(2)?;
    // It never listens, though it is listed as ready.
    bed.close("users-0")?;
    let (tracer, calls) = calling(&node, &mut bed, "1s", SOON, |bed| {
        sleep(SECOND * 2);
        bed.unlist("users-0")?;
        bed.sync()?;
        sleep(SECOND);
        bed.delete("users-0")?;
        bed.tear_down("users-0")?;
        bed.forget("users-0");
        sleep(SECOND);
        bed.start_pod(0)?;
        bed.sync()?;
        sleep(SECOND * 2);
        Ok(())
    })?;
    ensure!(calls.refused > 0, "{calls:?}");
    let events = events(&tracer)?;
    named(&tracer, &events, &["nothing_listens"])?;
    let blamed = |e: &&told::Event| e.pod.as_deref() != Some("thrift/users-0");
    let wrong = events.iter().filter(|e| e.is_attempt()).find(blamed);
    ensure!(wrong.is_none(), "{wrong:?}");
    let told = explained(&tracer)?;
    ensure!(!told.contains("users-2"), "{told}");
    Ok(())
}

/// The rules stay as they were while pods are replaced.
#[test]
fn kube_proxy_is_dead() -> Result<()> {
    let node = Node::new(31805, PodLink::Bridge)?;
    let bed = node.running(3)?;
    rules_become_stale(&node, bed, |bed| bed.start_pod(5))
}

/// externalTrafficPolicy Local: the only pod of this node goes, others elsewhere are ready.
#[test]
fn kube_proxy_is_dead_where_the_last_local_pod_goes() -> Result<()> {
    let node = Node::new(31808, PodLink::Bridge)?;
    let bed = node.running(1)?;
    rules_become_stale(&node, bed, |bed| {
        bed.list_elsewhere();
        Ok(())
    })
}

/// The first pod goes, and nobody tells the rules.
fn rules_become_stale(
    node: &Node,
    mut bed: Bed<'_>,
    others: impl FnOnce(&mut Bed<'_>) -> Result<()>,
) -> Result<()> {
    let (tracer, _) = calling(node, &mut bed, "1s", SOON, |bed| {
        others(bed)?;
        bed.delete("users-0")?;
        sleep(STEP);
        bed.tear_down("users-0")?;
        sleep(STEP);
        bed.forget("users-0");
        sleep(SECOND * 13);
        Ok(())
    })?;
    let events = events(&tracer)?;
    named(
        &tracer,
        &events,
        &["pod_terminating", "pod_gone", "rules_stale"],
    )?;
    let failed: Vec<_> = events.iter().filter(|e| e.is_attempt()).collect();
    let first = failed.iter().map(|e| e.sent()).fold(f64::MAX, f64::min);
    let wrong = failed.iter().find(|e| {
        let since = e.sent() - first;
        let is = e.verdict == "rules_stale";
        // The first call that fails may come a little after the pod was told to stop.
        (since > 10.5 && !is) || (since < 9.0 && is)
    });
    ensure!(wrong.is_none(), "{wrong:?}");
    let stale = failed.iter().filter(|e| e.verdict == "rules_stale").count();
    ensure!(stale > 0, "no rules_stale");
    Ok(())
}

/// A Service gets its first ready pod while clients try, and the kernel keeps most of
/// kube-proxy's ICMP back.
#[test]
fn scale_from_zero() -> Result<()> {
    let node = Node::new(31806, PodLink::Bridge)?;
    let limits = [
        ("net/ipv4/icmp_ratemask", "6168"),
        ("net/ipv4/icmp_ratelimit", "1000"),
    ];
    node.topology.node.sysctls(&limits)?;
    let mut bed = node.running(0)?;
    let (tracer, calls) = calling(&node, &mut bed, "3s", SECOND * 4, |bed| {
        sleep(SECOND * 2);
        bed.start_pod(0)?;
        bed.sync()?;
        sleep(SECOND * 3);
        Ok(())
    })?;
    let events = events(&tracer)?;
    let late = events.iter().filter(|e| !e.is_attempt()).count();
    ensure!(
        late > 0,
        "no first SYN was rejected and sent again: {calls:?}"
    );
    named(&tracer, &events, &[BETWEEN, "no_endpoints"])?;
    Ok(())
}

/// A container dies again and again; its pod stays, and is ready in between.
#[test]
fn crash_loop() -> Result<()> {
    let node = Node::new(31807, PodLink::Veth)?;
    let mut bed = node.running(1)?;
    let (tracer, _) = calling(&node, &mut bed, "3s", SECOND * 4, |bed| {
        for _ in 0..2 {
            bed.close("users-0")?;
            sleep(STEP);
            bed.unlist("users-0")?;
            bed.sync()?;
            sleep(SECOND);
            bed.open("users-0")?;
            bed.sync()?;
            sleep(SECOND);
        }
        Ok(())
    })?;
    let events = events(&tracer)?;
    named(
        &tracer,
        &events,
        &[BETWEEN, "nothing_listens", "no_endpoints"],
    )
}
