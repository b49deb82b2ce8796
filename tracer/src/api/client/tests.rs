//! The client against sockets that are no good daemon.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::*;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A folder with a socket, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("tracer.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left in the temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a server goes on after its answer.
enum Then {
    Close,
    Wait,
}

/// Serves one connection with these bytes; what it returns is the request.
async fn serve(listener: UnixListener, answer: Vec<u8>, then: Then) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    // The client may have had enough.
    let _ = stream.write_all(&answer).await;
    if matches!(then, Then::Wait) {
        tokio::time::sleep(WEEK).await;
    }
    String::from_utf8(request).unwrap()
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn limits() -> Limits {
    Limits {
        size: 4_096,
        line: 1_024,
        ..Limits::default()
    }
}

/// What `explain` makes of an answer, and the request that was sent.
async fn explain(name: &str, answer: Vec<u8>) -> (Result<Option<Explanation>, Exit>, String) {
    let folder = Folder::new(name);
    let path = folder.socket();
    let server = tokio::spawn(serve(
        UnixListener::bind(&path).unwrap(),
        answer,
        Then::Close,
    ));
    let client = Client::new(&path, limits());
    let asked = client.explain(Duration::from_millis(1_500), &[30_102, 30_103]);
    (asked.await, server.await.unwrap())
}

const EMPTY: &str =
    r#"{"window_s":1.5,"ports":[],"verdicts":[],"unexplained":0,"not_visible":["a"]}"#;

#[tokio::test]
async fn a_daemon_is_asked_and_answers() {
    let (answer, request) = explain("answers", http("200 OK", EMPTY)).await;
    assert_eq!(answer.unwrap().unwrap().not_visible, ["a"]);
    let asked = "GET /v1/explain?last=1500ms&port=30102&port=30103 HTTP/1.1\r\n";
    assert!(request.starts_with(asked), "{request}");
}

#[tokio::test]
async fn without_a_socket_or_a_listener_there_is_no_daemon() {
    let folder = Folder::new("none");
    let path = folder.socket();
    let client = Client::new(&path, limits());
    assert_eq!(client.explain(WEEK, &[]).await, Ok(None));
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert_eq!(client.explain(WEEK, &[]).await, Ok(None));
}

#[tokio::test]
async fn rubbish_is_an_error_that_says_so() {
    let huge = format!("[{}", "1,".repeat(4_096));
    for (name, answer, part) in [
        ("ssh", b"SSH-2.0-x\r\n".to_vec(), "cannot be read"),
        ("html", http("200 OK", "<html>\u{1b}[2J"), "cannot be read"),
        ("other", http("200 OK", "{\"a\":1}"), "window_s"),
        ("empty", Vec::new(), "cannot be read"),
        ("large", http("200 OK", &huge), "more than 4096 bytes"),
        ("status", http("404 Not Found", "no"), "HTTP status 404"),
        (
            "short",
            http("200 OK", EMPTY)[..70].to_vec(),
            "cannot be read",
        ),
    ] {
        let exit = explain(name, answer).await.0.unwrap_err();
        let text = exit.to_string();
        assert_eq!(exit.code(), Code::Runtime, "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
        assert!(!text.contains('\u{1b}'), "{name}: {text}");
    }
}

#[tokio::test]
async fn refusals_are_handed_on() {
    let body = r#"{"error":"port 80 is not watched\u001b[2J"}"#;
    let exit = explain("refused", http("400 Bad Request", body)).await.0;
    let exit = exit.unwrap_err();
    assert_eq!(exit.code(), Code::Usage);
    let text = exit.to_string();
    assert!(text.ends_with("port 80 is not watched\\u{1b}[2J"), "{text}");
    let exit = explain("broken", http("500 Oops", body)).await.0;
    assert_eq!(exit.unwrap_err().code(), Code::Runtime);
}

#[tokio::test]
async fn silence_is_not_waited_for_without_end() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec();
    for (name, answer) in [("silent", Vec::new()), ("slow", head)] {
        let folder = Folder::new(name);
        let path = folder.socket();
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(serve(listener, answer, Then::Wait));
        let time = Duration::from_millis(200);
        let client = Client::new(&path, Limits { time, ..limits() });
        let text = client.explain(WEEK, &[]).await.unwrap_err().to_string();
        assert!(text.contains("no answer within 200 ms"), "{name}: {text}");
        server.abort();
    }
}

#[tokio::test]
async fn a_socket_of_root_asks_for_sudo() {
    let folder = Folder::new("denied");
    let path = folder.socket();
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if UnixStream::connect(&path).await.is_ok() {
        // Permissions do not hold for root; its lack is made up below.
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let client = Client::new(&path, limits());
        return assert_denied(&client.no_connection(&denied).unwrap_err());
    }
    let client = Client::new(&path, limits());
    assert_denied(&client.explain(WEEK, &[]).await.unwrap_err());
}

fn assert_denied(exit: &Exit) {
    assert_eq!(exit.code(), Code::Unavailable);
    let text = exit.to_string();
    assert!(text.contains("root") && text.contains("sudo"), "{text}");
}

/// Body of a chunked answer with these chunks, not yet ended.
fn chunked(chunks: &[&str]) -> Vec<u8> {
    let mut out = String::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in chunks {
        out.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    out.into_bytes()
}

/// The lines of an answer until its end or the first error, as text.
async fn follow(name: &str, answer: Vec<u8>) -> Vec<String> {
    let folder = Folder::new(name);
    let path = folder.socket();
    let server = tokio::spawn(serve(
        UnixListener::bind(&path).unwrap(),
        answer,
        Then::Close,
    ));
    let client = Client::new(&path, limits());
    let query = ["outcome=refused".to_owned()];
    let mut lines = client.follow(&query).await.unwrap().unwrap();
    let mut seen = Vec::new();
    loop {
        match lines.next().await {
            Ok(Some(line)) => seen.push(serde_json::to_string(&line).unwrap()),
            Ok(None) => break,
            Err(exit) => {
                seen.push(exit.to_string());
                break;
            }
        }
    }
    let request = server.await.unwrap();
    assert!(
        request.starts_with("GET /v1/events?follow=true&outcome=refused "),
        "{request}"
    );
    seen
}

#[tokio::test]
async fn lines_are_found_however_they_are_cut() {
    let lines = ["{\"lost\":1}\n{\"lo", "st\":2}", "\n", "{\"lost\":3}\n"];
    let mut answer = chunked(&lines);
    answer.extend(b"0\r\n\r\n");
    let seen = follow("lines", answer).await;
    assert_eq!(seen, ["{\"lost\":1}", "{\"lost\":2}", "{\"lost\":3}"]);
}

#[tokio::test]
async fn broken_lines_end_the_following() {
    let long = "x".repeat(2_000);
    let ended = b"0\r\n\r\n";
    for (name, answer, part) in [
        ("long", chunked(&[&long]), "a line of more than 1024 bytes"),
        ("word", chunked(&["{}\n"]), "cannot be read"),
        ("cut", chunked(&["{\"lost\":1}\n"]), "cannot be read"),
        (
            "half",
            [&chunked(&["{\"lo"])[..], ended].concat(),
            "last line is cut short",
        ),
    ] {
        let seen = follow(name, answer).await;
        let last = seen.last().unwrap();
        assert!(last.contains(part), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn remembered_events_come_at_once() {
    let folder = Folder::new("remembered");
    let path = folder.socket();
    let answer = http("200 OK", "{\"lost\":1}\n{\"lost\":2}\n");
    let server = tokio::spawn(serve(
        UnixListener::bind(&path).unwrap(),
        answer,
        Then::Close,
    ));
    let client = Client::new(&path, limits());
    let lines = client.events(&[]).await.unwrap().unwrap();
    assert_eq!(lines, [Line::Lost { lost: 1 }, Line::Lost { lost: 2 }]);
    assert!(server.await.unwrap().starts_with("GET /v1/events HTTP"));
}
