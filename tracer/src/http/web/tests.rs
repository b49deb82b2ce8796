use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use axum::{body::Body, routing::get};
use tower::ServiceExt as _;

use super::*;

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

fn parse(text: &str) -> Result<Settings, String> {
    format::parse(text, Path::new("/etc/web"))
}

#[track_caller]
fn refused(text: &str, part: &str) {
    let why = parse(text).unwrap_err();
    assert!(why.contains(part), "{text}: {why}");
}

#[test]
fn an_empty_file_asks_for_nothing() {
    for text in [
        "",
        "---\n# nothing\n",
        "tls_server_config:\n",
        "basic_auth_users: {}\n",
    ] {
        let settings = parse(text).unwrap();
        assert!(
            settings.tls.is_none() && settings.users.is_empty(),
            "{text}"
        );
        assert!(settings.rate.is_none() && settings.headers.is_empty());
    }
}

#[test]
fn what_is_unknown_or_cannot_be_is_refused_by_name() {
    let tls = |line: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n  {line}\n");
    refused("nonsense: 1\n", "nonsense");
    refused(&tls("cert_filse: x"), "cert_filse");
    refused("tls_server_config: {cert_file: a}\n", "key_file");
    refused("tls_server_config: {min_version: TLS13}\n", "cert_file");
    refused(
        &tls("min_version: TLS10"),
        "TLS10 is broken and not supported",
    );
    refused(
        &tls("max_version: TLS11"),
        "TLS11 is broken and not supported",
    );
    refused(&tls("min_version: TLS14"), "unknown TLS version `TLS14`");
    refused(&tls("min_version: TLS13\n  max_version: TLS12"), "above");
    refused(
        &tls("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"),
        "weak and not supported",
    );
    refused(&tls("cipher_suites: [TLS_NO]"), "unknown cipher `TLS_NO`");
    refused(
        &tls("curve_preferences: [CurveP521]"),
        "CurveP521 is not supported",
    );
    refused(&tls("curve_preferences: [P1]"), "unknown curve `P1`");
    refused(&tls("client_auth_type: Always"), "unknown policy `Always`");
    refused(&tls("client_ca_file: c"), "client_auth_type");
    refused(&tls("client_allowed_sans: [a]"), "client_auth_type");
    refused(
        &tls("client_auth_type: RequireAndVerifyClientCert"),
        "client_ca_file",
    );
    refused(
        "basic_auth_users: {alice: secret}\n",
        "alice: no bcrypt hash",
    );
    let hash = hash("x").replace("$04$", "$19$");
    refused(&format!("basic_auth_users: {{alice: {hash}}}\n"), "cost 19");
    refused(
        "http_server_config: {headers: {Server: x}}\n",
        "`Server` cannot be set",
    );
    refused(
        "http_server_config: {headers: {X-Frame-Options: x}}\n",
        "deny or sameorigin",
    );
    refused("rate_limit: {interval: 1s}\n", "burst must be 1 or more");
    refused(
        "rate_limit: {interval: soon, burst: 1}\n",
        "`soon` is no duration",
    );
}

#[test]
fn what_go_has_and_rustls_has_is_taken() {
    let text = "\
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: VerifyClientCertIfGiven
  client_ca_file: ca.crt
  client_allowed_sans: [one, 10.0.0.1]
  min_version: TLS12
  max_version: TLS12
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    - TLS_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384, X25519]
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
    X-XSS-Protection: 1
    Content-Security-Policy: ''
rate_limit: {interval: 500ms, burst: 3}
";
    let settings = parse(text).unwrap();
    let tls = settings.tls.unwrap();
    let path = |source: &tls::Source| match source {
        tls::Source::File(path) => path.display().to_string(),
        tls::Source::Text(text) => text.clone(),
    };
    assert_eq!(path(&tls.certificate), "/etc/web/server.crt");
    assert_eq!(path(&tls.key), "/keys/server.key");
    assert_eq!((tls.versions.len(), tls.own_order), (1, false));
    // Those of TLS 1.3 are not for choice.
    assert_eq!((tls.suites.len(), tls.groups.len()), (4, 2));
    assert!(settings.http2);
    assert_eq!(settings.headers["x-frame-options"], "deny");
    assert_eq!(settings.headers["x-xss-protection"], "1");
    assert_eq!(settings.headers.len(), 2);
    let rate = settings.rate.unwrap();
    assert_eq!((rate.interval, rate.burst), (Duration::from_millis(500), 3));
    assert!(
        parse("rate_limit: {interval: 0, burst: 0}\n")
            .unwrap()
            .rate
            .is_none()
    );
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
