use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};
use tower::ServiceExt as _;
use tracer_common::failure::Record;

use super::{page::PAGES, *};
use crate::snapshot::{Failures, Snapshot, Source};

#[derive(Default)]
struct Fake {
    broken: AtomicBool,
    /// How often the counters were looked at.
    looks: AtomicUsize,
}

impl Source for Fake {
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        anyhow::ensure!(!self.broken.load(Ordering::Relaxed), "map PORTS is gone");
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(Snapshot {
            ports: vec![],
            sharing: vec![],
            lost: Default::default(),
            flows: 3,
            misses: 0,
            addresses: 0,
            flows_capacity: 64,
            hooks: vec![],
        })
    }

    fn failures(&self) -> anyhow::Result<Failures> {
        Ok(Failures::default())
    }

    fn records(&self) -> Vec<Record> {
        Vec::new()
    }

    fn set_services(
        &self,
        _: &[u16],
        _: &std::collections::BTreeSet<std::net::IpAddr>,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    fn port_at(&self, _slot: u16) -> Option<u16> {
        None
    }

    fn ready(&self) -> Result<(), String> {
        let broken = self.broken.load(Ordering::Relaxed);
        if broken {
            Err("map PORTS is gone".to_owned())
        } else {
            Ok(())
        }
    }
}

fn broken() -> Arc<Fake> {
    Arc::new(Fake {
        broken: true.into(),
        ..Fake::default()
    })
}

async fn ask(
    source: Arc<Fake>,
    method: Method,
    path: &str,
    accept: &str,
) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Accept", accept);
    let request = request.body(Body::empty()).unwrap();
    let router = router(Recorder::bare(source), "/metrics");
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn get(path: &str) -> (StatusCode, HeaderMap, String) {
    ask(Arc::default(), Method::GET, path, "*/*").await
}

#[tokio::test]
async fn pages_answer() {
    assert_eq!(get("/livez").await.0, StatusCode::OK);
    assert_eq!(get("/readyz").await.0, StatusCode::OK);
    assert!(get("/").await.2.contains("href=\"/metrics\""));
    assert_eq!(get("/other").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_come_in_the_form_asked_for() {
    let (status, headers, text) = get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(
        text.contains("\ntracer_flows 3\n") && !text.contains("# EOF"),
        "{text}"
    );
    let open = "application/openmetrics-text; version=1.0.0";
    let (_, headers, text) = ask(Arc::default(), Method::GET, "/metrics", open).await;
    assert_eq!(
        headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (status, headers, _) = ask(Arc::default(), Method::POST, "/metrics", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn a_failed_read_is_an_error_with_its_cause() {
    let (status, _, text) = ask(broken(), Method::GET, "/metrics", "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text, "read the counters: map PORTS is gone\n");
    let (status, _, text) = ask(broken(), Method::GET, "/readyz", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text, "not ready: map PORTS is gone\n");
    assert_eq!(
        ask(broken(), Method::GET, "/livez", "").await.0,
        StatusCode::OK
    );
}

/// A router, and its counters.
fn counted() -> (Router, Arc<Fake>) {
    let source = Arc::new(Fake::default());
    let router = router(Recorder::bare(Arc::clone(&source) as _), "/metrics");
    (router, source)
}

async fn scrape(router: &Router, accept: &str) -> Response {
    let request = Request::builder().uri("/metrics").header("Accept", accept);
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn those_who_scrape_at_once_get_one_page() {
    let (router, source) = counted();
    let looks = || source.looks.load(Ordering::Relaxed);
    let all = (0..40).map(|_| scrape(&router, "*/*"));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(looks(), 1);
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::OK);
        let page = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        assert!(page.unwrap().ends_with(b"\n"));
    }
    // Who comes later gets numbers of that time.
    scrape(&router, "*/*").await;
    assert_eq!(looks(), 2);
    // Another form is another page.
    let open = "application/openmetrics-text";
    let all = [scrape(&router, open), scrape(&router, open)];
    futures_util::future::join_all(all).await;
    assert_eq!(looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn pages_held_by_slow_readers_are_bounded() {
    let (router, source) = counted();
    let mut held = Vec::new();
    for _ in 0..PAGES {
        held.push(scrape(&router, "*/*").await);
    }
    let looks = || source.looks.load(Ordering::Relaxed);
    assert_eq!(looks(), PAGES);
    // For a second the last one is there for others too.
    held.push(scrape(&router, "*/*").await);
    assert_eq!((held[PAGES].status(), looks()), (StatusCode::OK, PAGES));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = scrape(&router, "*/*").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    held.remove(0);
    assert_eq!(scrape(&router, "*/*").await.status(), StatusCode::OK);
}

/// A server on a loopback port of its own, with short times.
struct Server {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let router = router(Recorder::bare(Arc::new(Fake::default())), "/metrics");
    let stopped = async { stopped.await.unwrap_or(()) };
    let task = tokio::spawn(serve(listener, router, None, limits, stopped));
    Server {
        address,
        stop,
        task,
    }
}

/// Sends and reads until the server closes; a reset counts as closing.
async fn exchange(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut answer = Vec::new();
    // Both fail when the server has had enough before everything is sent.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const CLOSE: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn short() -> Limits {
    let short = Duration::from_millis(50);
    Limits {
        connections: 2,
        head: short,
        write: short * 4,
        age: short * 4,
        grace: short,
        stop: short,
        paced: false,
    }
}

#[tokio::test]
async fn slow_heads_are_cut_off_and_free_their_place() {
    let server = start(short()).await;
    let slow = [0; 6].map(|_| exchange(&server, b"GET /livez HT"));
    for slow in slow {
        assert!(!slow.await.contains("200 OK"));
    }
    assert!(
        exchange(&server, CLOSE)
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server = start(short()).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(
        exchange(&server, CLOSE)
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let hour = Duration::from_secs(3_600);
    let limits = Limits {
        head: hour,
        age: hour,
        ..short()
    };
    let server = start(limits).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /livez HT").await.unwrap();
        silent.push(stream);
    }
    // Far above what it takes.
    let answer = timeout(Duration::from_secs(60), exchange(&server, CLOSE));
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn long_heads_are_refused() {
    let server = start(Limits::default()).await;
    let request = format!(
        "GET /livez HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "a".repeat(64 * 1024)
    );
    let answer = exchange(&server, request.as_bytes()).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_the_listener() {
    let server = start(Limits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_slow_clients() {
    let hour = Duration::from_secs(3_600);
    let limits = Limits {
        head: hour,
        age: hour,
        grace: hour,
        ..short()
    };
    let server = start(limits).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /livez HT").await.unwrap();
    assert!(exchange(&server, CLOSE).await.contains("200 OK"));
    server.stop.send(()).unwrap();
    // Far above what it takes: only a server that waits for the client fails.
    timeout(Duration::from_secs(60), server.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_with_a_remedy() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.local_addr().unwrap();
    let exit = bind(address).await.unwrap_err();
    assert_eq!(
        exit.to_string(),
        format!(
            "listen on {address}: address in use; stop the other process or choose --web.listen-address"
        )
    );
}
