use std::{
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    task::JoinHandle,
};
use tracer_common::failure::{Failure, Record};

use super::*;
use crate::{
    config::Socket,
    http,
    report::{Event, Explanation, Line, Status, Top},
    snapshot::{Failures, Snapshot, Source},
};

const PORT: u16 = 30_102;

/// A node where nothing fails but what is asked for.
#[derive(Default)]
struct Node(AtomicU64);

impl Source for Node {
    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot {
            ports: vec![],
            sharing: vec![],
            lost: Default::default(),
            flows: 0,
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
        let mut record = Record::default();
        record.key.failure = Failure::TimedOut as u8;
        vec![record; self.0.swap(0, Ordering::Relaxed) as usize]
    }

    fn set_services(
        &self,
        _: &[u16],
        _: &std::collections::BTreeSet<std::net::IpAddr>,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    fn port_at(&self, _slot: u16) -> Option<u16> {
        Some(PORT)
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A server on a socket in a folder of its own.
struct Server {
    node: Arc<Node>,
    path: PathBuf,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

fn path(name: &str) -> PathBuf {
    let folder = format!("tracer-api-{name}-{}", std::process::id());
    std::env::temp_dir().join(folder).join("tracer.sock")
}

async fn start(name: &str) -> Server {
    let node = Arc::new(Node::default());
    let recorder = Recorder::bare(Arc::clone(&node) as Arc<dyn Source>);
    let path = path(name);
    let (listener, guard) = bind(&Socket::At(path.clone())).await.unwrap().unwrap();
    let (stop, stopped) = watch::channel(());
    let router = router(recorder, stopped.clone());
    let task = tokio::spawn(async move {
        let _guard = guard;
        let mut stopped = stopped;
        let stopped = async move { while stopped.changed().await.is_ok() {} };
        http::serve(listener, router, None, LIMITS, stopped).await;
    });
    Server {
        node,
        path,
        stop,
        task,
    }
}

impl Server {
    async fn send(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Status and body, which is not chunked.
    async fn get(&self, target: &str) -> (u16, String) {
        let request = format!("GET {target} HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        let mut stream = self.send(&request).await;
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    async fn end(self) {
        drop(self.stop);
        self.task.await.unwrap();
        assert!(!self.path.exists());
        std::fs::remove_dir(self.path.parent().unwrap()).unwrap();
    }
}

fn events(body: &str) -> Vec<Line> {
    let lines = body.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn questions_are_answered_as_json() {
    let server = start("answers").await;
    let (status, body) = server.get("/v1/explain?last=60s&port=30102").await;
    assert_eq!(status, 200);
    let explanation: Explanation = serde_json::from_str(&body).unwrap();
    assert!(explanation.ports.is_empty() && !explanation.not_visible.is_empty());
    server.node.0.store(3, Ordering::Relaxed);
    let (status, body) = server.get("/v1/events?outcome=timed_out").await;
    assert_eq!((status, events(&body).len()), (200, 3));
    let (status, body) = server.get("/v1/top?port=30102&history=5m&last=10s").await;
    let top: Top = serde_json::from_str(&body).unwrap();
    assert_eq!((status, top.flows_capacity), (200, 64));
    let failures = top.detail.unwrap().failures;
    assert_eq!(failures.len(), 3);
    let (_, body) = server.get("/v1/events?outcome=refused").await;
    assert_eq!(body, "");
    let (status, body) = server.get("/v1/status").await;
    let told: Status = serde_json::from_str(&body).unwrap();
    assert_eq!((status, told.events), (200, 3));
    server.end().await;
}

#[tokio::test]
async fn refusals_are_json_with_a_remedy() {
    let server = start("refusals").await;
    for (target, status, words) in [
        ("/v1/explain?last=1h", 400, "last: `1h` is not between"),
        ("/v1/explain?port=80", 400, "port: 80 is not watched; give"),
        ("/v1/events?outcome=x", 400, "outcome: `x` is none of"),
        ("/v1/top?last=1h", 400, "last: `1h` is not between"),
        ("/v1/top?history=x", 400, "history: `x` is no duration"),
        ("/v1/top?port=80", 400, "port: 80 is not watched; give"),
        (
            "/v1/top?ports=1",
            400,
            "`ports` is no parameter; there are last",
        ),
        ("/v2", 404, "there are /v1/explain"),
    ] {
        let (got, body) = server.get(target).await;
        let refusal: Refusal = serde_json::from_str(&body).unwrap();
        assert_eq!(got, status, "{target}");
        assert!(refusal.error.contains(words), "{}", refusal.error);
    }
    let mut stream = server.send("POST /v1/status HTTP/1.0\r\n\r\n").await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 405") && answer.contains("only GET"));
    server.end().await;
}

/// The next line of JSON in a chunked answer.
async fn next(lines: &mut tokio::io::Lines<BufReader<UnixStream>>) -> Option<Event> {
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Ok(Line::Event(event)) = serde_json::from_str(&line) {
            return Some(*event);
        }
    }
    None
}

#[tokio::test]
async fn followers_get_what_is_remembered_and_what_comes_until_the_end() {
    let server = start("follow").await;
    server.node.0.store(2, Ordering::Relaxed);
    let request = "GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";
    let stream = server.send(request).await;
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..2 {
        assert_eq!(next(&mut lines).await.unwrap().node_port, PORT);
    }
    server.node.0.store(1, Ordering::Relaxed);
    assert_eq!(next(&mut lines).await.unwrap().outcome, "timed_out");
    let ended = tokio::join!(next(&mut lines), server.end()).0;
    assert_eq!(ended, None);
}

#[tokio::test]
async fn clients_that_never_read_or_never_ask_keep_nobody_waiting() {
    let server = start("hostile").await;
    let mut idle = Vec::new();
    for _ in 0..FOLLOWERS {
        let request = "GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";
        idle.push(server.send(request).await);
    }
    for request in ["", "GET /v1/ev", "\0\u{1}\u{2}", "GET / HTTP/9.9\r\n\r\n"] {
        idle.push(server.send(request).await);
    }
    for _ in 0..3 {
        server.node.0.store(4_096, Ordering::Relaxed);
        let (status, body) = server.get("/v1/events").await;
        assert_eq!((status, events(&body).len()), (200, 4_096));
        assert_eq!(server.get("/v1/explain").await.0, 200);
    }
    let (status, body) = server.get("/v1/events?follow=true").await;
    assert_eq!(status, 503, "{body}");
    // One that leaves makes room for another.
    drop(idle.remove(0));
    let request = "GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";
    loop {
        let mut lines = BufReader::new(server.send(request).await).lines();
        if next(&mut lines).await.is_some() {
            break;
        }
    }
    drop(idle);
    server.end().await;
}

#[tokio::test]
async fn the_condition_is_told() {
    let server = start("condition").await;
    let client = client::Client::new(&server.path, client::Limits::default());
    let condition = client.condition().await.unwrap().unwrap();
    assert!(
        condition.ready && condition.cause.is_none(),
        "{condition:?}"
    );
    server.end().await;
}

#[tokio::test]
async fn sockets_are_private_replaced_when_stale_and_never_stolen() {
    let server = start("socket").await;
    let folder = server.path.parent().unwrap().to_owned();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&server.path) & 0o777, 0o600);
    assert_eq!(mode(&folder) & 0o777, 0o700);
    let live = bind(&Socket::At(server.path.clone())).await.unwrap_err();
    let live = live.to_string();
    let us = std::process::id();
    let words = format!("another tracer (pid {us}) answers there; choose another");
    assert!(live.contains(&words), "{live}");
    let file = folder.join("file");
    std::fs::write(&file, "x").unwrap();
    let error = bind(&Socket::At(file.clone())).await.unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
    std::fs::remove_file(&file).unwrap();
    // What a killed daemon leaves behind.
    let stale = folder.join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let (listener, guard) = bind(&Socket::At(stale.clone())).await.unwrap().unwrap();
    assert!(UnixStream::connect(&stale).await.is_ok());
    // Another one took the name: it stays.
    std::fs::remove_file(&stale).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&stale).unwrap();
    drop((listener, guard));
    assert!(std::fs::metadata(&stale).unwrap().file_type().is_socket());
    drop(other);
    std::fs::remove_file(&stale).unwrap();
    assert!(bind(&Socket::Off).await.unwrap().is_none());
    server.end().await;
}
