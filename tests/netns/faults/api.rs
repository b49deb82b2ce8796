//! The Kubernetes API goes away and comes back: names stay, counts go on. Here a
//! small one that says what it is told; `kubernetes.rs` does the same with a real one.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread::Scope,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{
    Metrics, Topology, Tracer, addr::NODE_V4, cleanup::ScratchDir, peer::Dial, process::poll_until,
};

/// The hooks see the sockets of every namespace: these are this file's.
const PORTS: &str = "31532-31533";
const CLOSED: u16 = 31532;
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);
const LIMIT: Duration = Duration::from_secs(60);
/// What the Service is called, and what it is called once the API is back.
const BEFORE: &str = "users";
const AFTER: &str = "accounts";
const LOOK: Duration = Duration::from_millis(50);

/// A Service.
fn service(name: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "5",
        },
        "spec": {
            "type": "NodePort",
            "ports": [{"name": "thrift", "protocol": "TCP", "port": 9090, "nodePort": CLOSED}],
        },
    })
}

/// Answers one request: a list, or a watch, that of Services with `news`, until the end.
fn answer(stream: &mut TcpStream, news: &str, end: &AtomicBool) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    while !lines.next().context("no end of headers")??.is_empty() {}
    let services = request.contains("/services");
    let headers = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    if request.contains("watch=") {
        let news = if services { news } else { "" };
        write!(stream, "{headers}\r\n\r\n{news}")?;
        while !end.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        return Ok(());
    }
    let items: Vec<_> = services.then(|| service(BEFORE)).into_iter().collect();
    let list = json!({"kind": "List", "metadata": {"resourceVersion": "9"}, "items": items});
    let list = list.to_string();
    let length = list.len();
    write!(
        stream,
        "{headers}\r\ncontent-length: {length}\r\n\r\n{list}"
    )?;
    Ok(())
}

/// Serves until `end`; then nobody listens, and all connections are closed.
fn serve<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    listener: TcpListener,
    news: &'scope str,
    end: &'scope AtomicBool,
) -> Result<()> {
    listener.set_nonblocking(true)?;
    scope.spawn(move || {
        while !end.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let _ = stream.set_nonblocking(false);
                    // Who asks badly, or goes, is not served.
                    scope.spawn(move || answer(&mut stream, news, end).is_ok());
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK),
                Err(_) => return,
            }
        }
    });
    Ok(())
}

/// Works with an API that has `news` since its list was read, and ends it.
fn with_api<T>(bed: &Topology, news: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let listener = bed.node.enter(|| TcpListener::bind(API))??;
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        serve(scope, listener, news, &end)?;
        let worked = work();
        end.store(true, Ordering::Relaxed);
        worked
    })
}

fn kubeconfig(dir: &ScratchDir) -> Result<String> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://{API}'}}}}]\n"
    );
    let path = dir.write("kubeconfig", &text)?;
    Ok(path.to_str().context("path")?.to_owned())
}

fn is_named(metrics: &Metrics, name: &str) -> bool {
    let names = metrics.values_of("tracer_node_port_info", "service");
    names.iter().eq([name])
}

fn is_synced(metrics: &Metrics, synced: bool) -> bool {
    metrics.get("tracer_kubernetes_synced", &[]) == Some(f64::from(synced))
}

/// One more refusal is counted, `all` by then.
fn refuses(bed: &Topology, tracer: &Tracer<'_>, all: f64) -> Result<()> {
    let ended = Dial::new(&bed.client, (NODE_V4, CLOSED)).connect()?;
    ensure!(ended.is_err(), "connected");
    let counted = |m: &Metrics| m.sum("tracer_handshakes_total", &[("outcome", "refused")]) == all;
    tracer
        .metrics_when(LIMIT, "not counted", counted)?
        .balanced()
}

fn is_told(tracer: &Tracer<'_>, words: &str, times: usize) -> Result<()> {
    poll_until(LIMIT, words, || {
        let told = tracer.process().stderr().matches(words).count();
        Ok((told == times).then_some(()))
    })
}

#[test]
fn the_api_goes_and_comes_back() -> Result<()> {
    const STAY: &str = "names from Kubernetes stay as they were; counts go on";
    const WELL: &str = "names from Kubernetes are up to date";
    let bed = Topology::builder().pods(0).build()?;
    let dir = ScratchDir::new()?;
    let kubeconfig = kubeconfig(&dir)?;
    let args = ["--node-ports", PORTS, "--kubeconfig", &kubeconfig];
    let tracer = with_api(&bed, "", || {
        let tracer = Tracer::start(&bed.node, &args)?;
        tracer.metrics_when(LIMIT, "no name", |m| {
            is_named(m, BEFORE) && is_synced(m, true)
        })?;
        // Of each of the two resources.
        is_told(&tracer, WELL, 2)?;
        refuses(&bed, &tracer, 1.0)?;
        Ok(tracer)
    })?;
    let unreachable = [("reason", "unreachable")];
    let gone = |m: &Metrics| {
        is_synced(m, false) && m.sum("tracer_kubernetes_errors_total", &unreachable) >= 2.0
    };
    let metrics = tracer.metrics_when(LIMIT, "not noticed", gone)?;
    ensure!(is_named(&metrics, BEFORE), "the name did not stay");
    is_told(&tracer, STAY, 2)?;
    refuses(&bed, &tracer, 2.0)?;
    let deleted = json!({"type": "DELETED", "object": service(BEFORE)});
    let added = json!({"type": "ADDED", "object": service(AFTER)});
    let renamed = format!("{deleted}\n{added}\n");
    with_api(&bed, &renamed, || {
        tracer.metrics_when(LIMIT, "not back", |m| {
            is_named(m, AFTER) && is_synced(m, true)
        })?;
        is_told(&tracer, WELL, 4)?;
        refuses(&bed, &tracer, 3.0)
    })?;
    let errors = tracer.process().stderr();
    ensure!(!errors.contains("level=error"), "{errors}");
    Ok(())
}
