mod format;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use axum::{body::Body, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tower::ServiceExt as _;

use super::*;
use crate::http::{Limits, bind, serve};

/// Of `right`, by the cost 4, the least.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

/// A file of its own, removed at the end.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("tracer-web-{}-{name}.yml", std::process::id());
        let config = Self(std::env::temp_dir().join(name));
        config.write(text);
        config
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn router(web: &Web) -> Router {
    web.guard(Router::new().route("/", get(async || "page")))
}

async fn ask(router: &Router, authorization: Option<&str>) -> Response {
    let mut request = Request::builder().uri("/");
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn users_have_to_know_their_password() {
    let hash = hash("right");
    let config = Config::new("users", &format!("basic_auth_users: {{alice: {hash}}}\n"));
    let web = Web::open(&config.0).unwrap();
    let router = router(&web);
    for wrong in [
        None,
        Some("Bearer x".to_owned()),
        Some("Basic ?".to_owned()),
        Some(basic("alice", "wrong")),
        Some(basic("bob", "right")),
        Some(basic("alice", "")),
    ] {
        let answer = ask(&router, wrong.as_deref()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert_eq!(
            answer.headers()[header::WWW_AUTHENTICATE],
            "Basic realm=\"tracer\""
        );
    }
    let right = basic("alice", "right");
    assert_eq!(ask(&router, Some(&right)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_new_password_and_a_wrong_file_hold_at_once() {
    let users = |password: &str| format!("basic_auth_users: {{alice: {}}}\n", hash(password));
    let config = Config::new("anew", &users("old"));
    let web = Web::open(&config.0).unwrap();
    let router = router(&web);
    let (old, new) = (basic("alice", "old"), basic("alice", "new"));
    assert_eq!(ask(&router, Some(&old)).await.status(), StatusCode::OK);
    config.write(&users("new"));
    assert_eq!(
        ask(&router, Some(&old)).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(ask(&router, Some(&new)).await.status(), StatusCode::OK);
    // Empty, as in the middle of being written: nobody is let in for that.
    for wrong in ["nonsense: 1\n", ""] {
        config.write(wrong);
        let broken = ask(&router, Some(&new)).await;
        assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    config.write(&users("new"));
    assert_eq!(ask(&router, Some(&new)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn guesses_do_not_keep_out_others() {
    let users = Arc::new(Users::new().unwrap());
    // One that takes long, so that all guesses meet.
    let known = BTreeMap::from([("alice".to_owned(), bcrypt::hash("right", 7).unwrap())]);
    let judge = |password: &str, from: [u8; 4]| {
        let (users, known) = (Arc::clone(&users), known.clone());
        let mut headers = axum::http::HeaderMap::new();
        let value = basic("alice", password);
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        tokio::spawn(async move { users.judge(&known, &headers, Some(from.into())).await })
    };
    let guesses: Vec<_> = (0..50)
        .map(|i| judge(&format!("guess {i}"), [10, 0, 0, 1]))
        .collect();
    // Who has never been in waits for a turn, and gets it; then there is no wait.
    let first = judge("right", [10, 0, 0, 2]).await.unwrap();
    let second = judge("right", [10, 0, 0, 1]).await.unwrap();
    assert_eq!((first, second), (Verdict::Right, Verdict::Right));
    let verdicts = futures_util::future::join_all(guesses).await;
    let count = |of| {
        verdicts
            .iter()
            .filter(|v| *v.as_ref().unwrap() == of)
            .count()
    };
    let (wrong, later) = (count(Verdict::Wrong), count(Verdict::Later));
    assert!(wrong >= 2 && later > 0, "{wrong} {later}");
    assert_eq!(wrong + later, 50);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_rate_are_refused() {
    let config = Config::new("rate", "rate_limit: {interval: 1s, burst: 2}\n");
    let router = router(&Web::open(&config.0).unwrap());
    for _ in 0..2 {
        assert_eq!(ask(&router, None).await.status(), StatusCode::OK);
    }
    let beyond = ask(&router, None).await;
    assert_eq!(beyond.status(), StatusCode::TOO_MANY_REQUESTS);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&router, None).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn headers_are_on_every_answer() {
    let text = "http_server_config: {headers: {X-Content-Type-Options: nosniff}}\n";
    let config = Config::new("headers", text);
    let answer = ask(&router(&Web::open(&config.0).unwrap()), None).await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
}

#[test]
fn a_file_that_cannot_be_used_is_told_at_start() {
    let config = Config::new(
        "start",
        "tls_server_config: {cert_file: no, key_file: no}\n",
    );
    let exit = Web::open(&config.0).err().unwrap();
    assert_eq!(exit.code(), crate::exit::Code::Config);
    let said = exit.to_string();
    assert!(
        said.contains("certificate: read") && said.contains("No such file"),
        "{said}"
    );
    let exit = Web::open(Path::new("/nonexistent/web.yml")).err().unwrap();
    assert!(exit.to_string().contains("/nonexistent/web.yml"), "{exit}");
}

/// Far above what anything here takes.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head() {
    const TESTDATA: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/services/kubernetes/tests/testdata"
    );
    let files = format!("cert_file: {TESTDATA}/cert.pem, key_file: {TESTDATA}/key.pem");
    let config = Config::new("handshake", &format!("tls_server_config: {{{files}}}\n"));
    let web = Web::open(&config.0).unwrap();
    assert!(web.is_secure());
    let limits = Limits {
        head: Duration::from_millis(50),
        age: LONG,
        ..Limits::default()
    };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(&web);
    let server = serve(listener, router, Some(web), limits, std::future::pending());
    let server = tokio::spawn(server);
    // Nothing, half a hello, and what is none.
    for sent in [
        &b""[..],
        &[22, 3, 1, 1, 0, 1, 0, 0, 252],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let closed = timeout(LONG, stream.read_to_end(&mut answer));
        // A reset is as good.
        let _ = closed.await.expect("it stays open");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    server.abort();
}
