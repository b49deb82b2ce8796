//! What may stand in the file.

use std::{path::Path, time::Duration};

use super::{
    super::{
        format::{Settings, parse as parse_in},
        tls,
    },
    hash,
};

fn parse(text: &str) -> Result<Settings, String> {
    parse_in(text, Path::new("/etc/web"))
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
