//! The file: what may stand in it, and what that means. The format is that of
//! Prometheus' exporter-toolkit (docs/web-configuration.md there).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bcrypt::HashParts;
use serde::Deserialize;

use super::{
    names,
    tls::{ClientAuth, Source, Tls},
};
use crate::yaml;

/// Headers that may be set, and the values allowed where there are but a few.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];
/// Highest cost of a hash: 2^18 rounds take seconds, each more twice the time.
const COST_MAX: u32 = 18;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Contents {
    tls_server_config: Option<TlsContents>,
    http_server_config: Option<HttpContents>,
    basic_auth_users: Option<BTreeMap<String, String>>,
    rate_limit: Option<RateContents>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsContents {
    pub cert: Option<String>,
    pub key: Option<String>,
    pub client_ca: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub client_ca_file: Option<String>,
    pub client_auth_type: Option<String>,
    pub client_allowed_sans: Option<Vec<String>>,
    pub min_version: Option<String>,
    pub max_version: Option<String>,
    pub cipher_suites: Option<Vec<String>>,
    pub prefer_server_cipher_suites: Option<bool>,
    pub curve_preferences: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpContents {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateContents {
    interval: Option<String>,
    burst: Option<i64>,
}

/// What the file says, checked.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// HTTP/2 is asked for in so many words.
    pub http2: bool,
    /// Added to each answer.
    pub headers: HeaderMap,
    /// Who may ask, with the bcrypt hash of the password; empty: anybody.
    pub users: BTreeMap<String, String>,
    pub rate: Option<Rate>,
}

/// Requests in `interval`, and those that may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub interval: Duration,
    pub burst: u32,
}

/// Reads a file's text; relative paths in it begin in `folder`.
///
/// # Errors
/// What is wrong, with the line and column where YAML has them.
pub(super) fn parse(text: &str, folder: &Path) -> Result<Settings, String> {
    let contents: Contents = yaml::parse(text)?;
    let http = contents.http_server_config.unwrap_or_default();
    let users = contents.basic_auth_users.unwrap_or_default();
    for (user, hash) in &users {
        check_hash(hash).map_err(|e| format!("basic_auth_users: {user}: {e}"))?;
    }
    Ok(Settings {
        tls: tls(contents.tls_server_config.unwrap_or_default(), folder)
            .map_err(|e| format!("tls_server_config: {e}"))?,
        http2: http.http2.unwrap_or_default(),
        headers: headers(http.headers.unwrap_or_default())?,
        users,
        rate: rate(contents.rate_limit.unwrap_or_default())
            .map_err(|e| format!("rate_limit: {e}"))?,
    })
}

fn check_hash(hash: &str) -> Result<(), String> {
    let parts = HashParts::from_str(hash)
        .map_err(|_| "no bcrypt hash such as `htpasswd -nBC 10 \"\"` prints".to_owned())?;
    match parts.get_cost() {
        4..=COST_MAX => Ok(()),
        cost => Err(format!("cost {cost} is not between 4 and {COST_MAX}")),
    }
}

fn headers(given: BTreeMap<String, Option<String>>) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    for (name, value) in given {
        let Some((known, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
            return Err(format!("header `{name}` cannot be set"));
        };
        let Some(value) = filled(value) else {
            continue;
        };
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            let allowed = allowed.join(" or ");
            return Err(format!("header {known}: `{value}` is not {allowed}"));
        }
        let bad = |_| format!("header {known}: `{value}` cannot be sent");
        let value = HeaderValue::from_str(&value).map_err(bad)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?;
        all.insert(name, value);
    }
    Ok(all)
}

fn rate(given: RateContents) -> Result<Option<Rate>, String> {
    let interval = match given.interval.as_deref() {
        None | Some("" | "0") => return Ok(None),
        Some(text) => humantime::parse_duration(text)
            .map_err(|e| format!("interval: `{text}` is no duration such as 1s: {e}"))?,
    };
    if interval.is_zero() {
        return Ok(None);
    }
    match u32::try_from(given.burst.unwrap_or_default()) {
        Ok(burst @ 1..) => Ok(Some(Rate { interval, burst })),
        _ => Err("burst must be 1 or more: with less no request is ever answered".into()),
    }
}

/// `None` without anything that asks for TLS.
fn tls(given: TlsContents, folder: &Path) -> Result<Option<Tls>, String> {
    if given == TlsContents::default() {
        return Ok(None);
    }
    let certificate = source(given.cert_file, given.cert, folder);
    let key = source(given.key_file, given.key, folder);
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Err("needs one of cert and cert_file, and one of key and key_file".into());
    };
    let authority = source(given.client_ca_file, given.client_ca, folder);
    let policy = given.client_auth_type.as_deref().unwrap_or_default();
    let has_names = given.client_allowed_sans.is_some();
    Ok(Some(Tls {
        certificate,
        key,
        clients: clients(policy, authority.is_some(), has_names)?,
        authority,
        allowed_sans: given.client_allowed_sans,
        versions: names::versions(given.min_version.as_deref(), given.max_version.as_deref())?,
        suites: names::suites(&given.cipher_suites.unwrap_or_default())?,
        groups: names::groups(&given.curve_preferences.unwrap_or_default())?,
        own_order: given.prefer_server_cipher_suites.unwrap_or(true),
    }))
}

/// What is asked of clients, given an authority or not, and names or not.
fn clients(policy: &str, has_authority: bool, has_names: bool) -> Result<ClientAuth, String> {
    let clients = ClientAuth::named(policy)?;
    if clients == ClientAuth::None && has_authority {
        return Err("client_ca is of no use without client_auth_type".into());
    }
    if clients == ClientAuth::None && has_names {
        return Err("client_allowed_sans is of no use without client_auth_type".into());
    }
    if clients.verifies() && !has_authority {
        let why = "needs client_ca or client_ca_file: public authorities are not trusted here";
        return Err(format!("client_auth_type: {why}"));
    }
    Ok(clients)
}

/// A file stands before text given in place, as in exporter-toolkit.
fn source(file: Option<String>, text: Option<String>, folder: &Path) -> Option<Source> {
    let file = filled(file).map(|file| Source::File(folder.join(PathBuf::from(file))));
    file.or_else(|| filled(text).map(Source::Text))
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
