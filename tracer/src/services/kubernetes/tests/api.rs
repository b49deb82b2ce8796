//! An API server that does as it is told: real HTTP, over TLS or not.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};

/// Certificates of 100 years: the server's own, and that of somebody else.
const TESTDATA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/services/kubernetes/tests/testdata"
);
const CERT: &[u8] = include_bytes!("testdata/cert.pem");
const KEY: &[u8] = include_bytes!("testdata/key.pem");

/// What is done with one request.
#[derive(Clone)]
pub(super) enum Answer {
    /// A whole answer.
    Whole(u16, String),
    /// Lines of a watch, which is then held open, or cut off in the midst.
    Watch(Vec<String>, Then),
    /// Bytes without an end.
    Endless,
    /// Nothing.
    Hang,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Hold,
    Close,
    Cut,
}

impl Answer {
    /// A page of a list.
    pub(super) fn list(version: u32, goes_on: &str, items: &[Value]) -> Self {
        let list = json!({
            "kind": "List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": version.to_string(), "continue": goes_on},
            "items": items,
        });
        Self::Whole(200, list.to_string())
    }

    /// As the API says that something is wrong.
    pub(super) fn status(code: u16, reason: &str, message: &str) -> Self {
        Self::Whole(code, status(code, reason, message).to_string())
    }

    /// Events, with what happens after them.
    pub(super) fn watch(events: &[(&str, Value)], then: Then) -> Self {
        let line = |(kind, object): &(&str, Value)| json!({"type": kind, "object": object});
        let lines = events.iter().map(|event| line(event).to_string() + "\n");
        Self::Watch(lines.collect(), then)
    }
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

#[derive(Default)]
struct Script {
    /// By what is asked for; the last answer stays.
    answers: HashMap<String, VecDeque<Answer>>,
    asked: Vec<String>,
}

/// The server. It answers for as long as the process lives.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    gone: Arc<Mutex<bool>>,
    tls: bool,
}

impl Api {
    pub(super) fn new(tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            script: Arc::default(),
            open: Arc::default(),
            gone: Arc::default(),
            tls,
        };
        let server = api.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        api
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// From now on: `list services`, `watch v1beta1`, …
    pub(super) fn answers(&self, to: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.script().answers.insert(to.to_owned(), answers);
    }

    /// What was asked so far, with the query.
    pub(super) fn asked(&self) -> Vec<String> {
        self.script().asked.clone()
    }

    /// All connections end, and new ones are closed at once; or no more.
    pub(super) fn is_gone(&self, gone: bool) {
        *self.gone.lock().unwrap() = gone;
        if gone {
            self.hang_up();
        }
    }

    /// All connections end.
    pub(super) fn hang_up(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// A kubeconfig that leads here.
    pub(super) fn kubeconfig(&self, name: &str, ca: &str) -> PathBuf {
        let scheme = if self.tls { "https" } else { "http" };
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("{scheme}://{}", self.address),
                "certificate-authority": format!("{TESTDATA}/{ca}"),
            }}],
            "users": [{"name": "test", "user": {"token": "of-the-test"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        let file = format!("tracer-kubeconfig-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    fn serve(&self, stream: TcpStream) {
        if *self.gone.lock().unwrap() {
            return;
        }
        let closer = stream.try_clone().unwrap();
        self.open.lock().unwrap().push(stream.try_clone().unwrap());
        if self.tls {
            let cert = CertificateDer::from_pem_slice(CERT).unwrap();
            let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
            let config = ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(vec![cert], key);
            let tls = ServerConnection::new(Arc::new(config.unwrap())).unwrap();
            let _ = self.answer(StreamOwned::new(tls, stream));
        } else {
            let _ = self.answer(stream);
        }
        // The others know it too: dropping it would not end it.
        let _ = closer.shutdown(std::net::Shutdown::Both);
    }

    fn answer(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(
            head.contains("authorization: Bearer of-the-test\r\n"),
            "{head}"
        );
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let what = what(&target);
        let next = {
            let mut script = self.script();
            script.asked.push(format!("{what} {target}"));
            match script.answers.get_mut(&what) {
                Some(answers) if answers.len() > 1 => answers.pop_front(),
                Some(answers) => answers.front().cloned(),
                None => None,
            }
        };
        let absent = || Answer::Whole(404, "404 page not found\n".to_owned());
        write(&mut stream, next.unwrap_or_else(absent))
    }
}

/// `list` or `watch`, and the resource or the version of the slices.
fn what(target: &str) -> String {
    let verb = if target.contains("watch=true") {
        "watch"
    } else {
        "list"
    };
    let path = target.split('?').next().unwrap_or_default();
    match path {
        "/api/v1/services" => format!("{verb} services"),
        "/apis/discovery.k8s.io/v1/endpointslices" => format!("{verb} v1"),
        "/apis/discovery.k8s.io/v1beta1/endpointslices" => format!("{verb} v1beta1"),
        other => panic!("nobody should ask for {other}"),
    }
}

fn write(stream: &mut (impl Read + Write), answer: Answer) -> std::io::Result<()> {
    const HEAD: &str = "content-type: application/json\r\nconnection: close";
    match answer {
        Answer::Whole(status, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\n{HEAD}\r\ncontent-length: {length}\r\n\r\n{body}"
            )?;
        }
        Answer::Watch(lines, then) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{HEAD}\r\ntransfer-encoding: chunked\r\n\r\n"
            )?;
            for line in lines {
                write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
                stream.flush()?;
            }
            match then {
                Then::Hold => hold(stream),
                Then::Close => stream.write_all(b"0\r\n\r\n")?,
                Then::Cut => stream.write_all(b"40\r\n{\"type\":")?,
            }
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\n{HEAD}\r\n\r\n{{\"items\":[")?;
            let bytes = vec![b' '; 1 << 16];
            while stream.write_all(&bytes).is_ok() {}
        }
        Answer::Hang => hold(stream),
    }
    stream.flush()
}

/// Until the other side, or [`Api::hang_up`], ends it.
fn hold(stream: &mut (impl Read + Write)) {
    let _ = stream.flush();
    let _ = stream.read(&mut [0; 64]);
    std::thread::sleep(Duration::from_millis(1));
}
