//! `tracer explain` and `tracer events` from outside, asking a daemon that is
//! none: exit codes, streams and what stands in them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::JoinHandle,
};

const HEALTHY: &str = r#"{"window_s":60.0,"ports":[{"node_port":30101,"service":null,"health_check_port":null,"attempts":3,
    "outcomes":{"established":3},"traffic":{"thrift":3},"answer":{"p50":0.0002,"p99":0.001},
    "answered_by":{}}],"verdicts":[],"unexplained":0,"not_visible":[]}"#;
const SICK: &str = r#"{"window_s":60.0,"ports":[],"verdicts":[{"node_port":30102,"service":"thrift/search:api",
    "verdict":"nothing_listens","certainty":"certain","scope":{},"failed":12,"connections":0,"late":0,"share":1.0,
    "backend":"100.96.2.7:9092","pod":null,"evidence":["It was seen."],"next":"Do it."}],
    "unexplained":0,"not_visible":[]}"#;
const EVENT: &str = concat!(
    r#"{"time":"2023-11-14T22:13:20.500Z","time_s":1700000000.5,"client":"10.0.1.9:40112","address":"10.0.3.17","interface":"eth0","node_port":30102,"service":"thrift/search:api","backend":null,"pod":null,"#,
    r#""outcome":"refused","traffic":"unknown","answered_by":"node_rst","#,
    r#""verdict":"no_service_rule","evidence":"NO_SOCKET","latency":0.0002}"#
);

/// A socket that gives one answer, gone at the end.
struct Daemon {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn new(name: &str, head: &str, body: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-{}-{name}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let answer = format!("HTTP/1.1 {head}\r\n\r\n{body}");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            // The client may have had enough.
            let _ = stream.write_all(answer.as_bytes());
            // Stays open until the client goes.
            let _ = stream.read(&mut [0]);
        });
        Self {
            path,
            thread: Some(thread),
        }
    }

    fn answering(name: &str, body: &str) -> Self {
        let head = format!("200 OK\r\ncontent-length: {}", body.len());
        Self::new(name, &head, body)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command.args(args).arg("--socket").arg(&self.path);
        command.env_clear();
        command
    }

    fn ask(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A socket left in the temporary directory does no harm.
        let _ = std::fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn healthy_is_0_and_a_problem_is_3() {
    for (name, body, code, part) in [
        (
            "healthy",
            HEALTHY,
            0,
            "Healthy: 0 of 3 attempts failed (1 port).",
        ),
        ("sick", SICK, 3, "nothing listens on the target port"),
    ] {
        let output = Daemon::answering(name, body).ask(&["explain"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = text(&output.stdout);
        assert!(text.contains(part) && !text.contains('\u{1b}'), "{text}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn json_is_what_the_daemon_says() {
    let output = Daemon::answering("json", SICK).ask(&["explain", "-o", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let said: serde_json::Value = serde_json::from_str(SICK).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["schema"], 1);
    assert!(told["node"].is_string() && told["time"].is_string() && told["version"].is_string());
    contains(&told, &said);
}

/// All that was said is told; what is told beside it is the command's own.
fn contains(told: &serde_json::Value, said: &serde_json::Value) {
    use serde_json::Value::{Array, Object};
    match (told, said) {
        (Object(told), Object(said)) => {
            for (key, value) in said {
                contains(told.get(key).unwrap_or_else(|| panic!("no {key}")), value);
            }
        }
        (Array(told), Array(said)) => {
            assert_eq!(told.len(), said.len());
            told.iter()
                .zip(said)
                .for_each(|(told, said)| contains(told, said));
        }
        _ => assert_eq!(told, said),
    }
}

#[test]
fn refusals_and_rubbish_are_told_without_any_output() {
    let refusal = r#"{"error":"port: 30102 is not watched"}"#;
    let head = format!("400 Bad Request\r\ncontent-length: {}", refusal.len());
    for (daemon, code, part) in [
        (
            Daemon::new("refuses", &head, refusal),
            2,
            "30102 is not watched",
        ),
        (Daemon::answering("rubbish", "<html>"), 1, "cannot be read"),
    ] {
        let output = daemon.ask(&["explain", "--port", "30102"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(part), "{output:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn events_are_lines() {
    let body = format!("{EVENT}\n{EVENT}\n");
    let output = Daemon::answering("events", &body).ask(&["events"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let first = lines.lines().nth(1).unwrap();
    assert!(lines.starts_with("TIME "), "{lines}");
    assert!(
        first.starts_with("2023-11-14T22:13:20.500Z  10.0.1.9:40112 "),
        "{lines}"
    );
    let output = Daemon::answering("events-json", &body).ask(&["events", "-o", "json"]);
    for line in text(&output.stdout).lines() {
        contains(
            &serde_json::from_str(line).unwrap(),
            &serde_json::from_str(EVENT).unwrap(),
        );
    }
    assert_eq!(text(&output.stdout).lines().count(), 2);
}

#[test]
fn following_ends_quietly_when_nobody_reads() {
    let chunk = format!("{EVENT}\n");
    let chunk = format!("{:x}\r\n{chunk}\r\n", chunk.len());
    let head = "200 OK\r\ntransfer-encoding: chunked";
    let daemon = Daemon::new("follow", head, &chunk);
    let mut command = daemon.command(&["events", "-f"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 20];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_daemon_that_stops_ends_the_following() {
    let head = "200 OK\r\ntransfer-encoding: chunked";
    let output = Daemon::new("stops", head, "0\r\n\r\n").ask(&["events", "-f"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains("it has stopped"),
        "{output:?}"
    );
}

#[test]
fn without_a_daemon_it_says_so_and_looks_at_its_own_settings() {
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["explain", "--port", "80", "--socket", "/nonexistent/t.sock"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let lines = text(&output.stderr);
    assert!(
        lines.starts_with("tracer: no daemon answers at /nonexistent/t.sock; watching for 60 s"),
        "{lines}"
    );
    assert!(
        lines.contains("port 80: only 30000-32767 are watched"),
        "{lines}"
    );
}
