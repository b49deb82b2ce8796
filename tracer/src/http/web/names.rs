//! What Go's names for parts of TLS, which the format uses, are in rustls; of
//! those that rustls has no part for, it is said so.

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        SupportedKxGroup,
        ring::{cipher_suite, kx_group},
    },
    version::{TLS12, TLS13},
};

/// TLS 1.3 has these alone, and as in Go they are not for choice.
const SUITES_13: [(&str, SupportedCipherSuite); 3] = [
    (
        "TLS_AES_128_GCM_SHA256",
        cipher_suite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        cipher_suite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
];
const SUITES_12: [(&str, SupportedCipherSuite); 6] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];
static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const GROUPS: [(&str, &dyn SupportedKxGroup); 3] = [
    ("X25519", kx_group::X25519),
    ("CurveP256", kx_group::SECP256R1),
    ("CurveP384", kx_group::SECP384R1),
];

/// All from `min` to `max`; without, TLS 1.2 and 1.3.
pub(super) fn versions(
    min: Option<&str>,
    max: Option<&str>,
) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    let number = |key: &str, name: Option<&str>, default| match name {
        None | Some("") => Ok(default),
        Some("TLS13") => Ok(13),
        Some("TLS12") => Ok(12),
        Some(old @ ("TLS10" | "TLS11")) => Err(format!(
            "{key}: {old} is broken and not supported: use TLS12 or TLS13"
        )),
        Some(other) => Err(format!("{key}: unknown TLS version `{other}`")),
    };
    let (min, max) = (
        number("min_version", min, 12)?,
        number("max_version", max, 13)?,
    );
    match (min, max) {
        (12, 12) => Ok(ONLY_12),
        (13, 13) => Ok(ONLY_13),
        (12, 13) => Ok(BOTH),
        _ => Err("min_version is above max_version".into()),
    }
}

/// In the order of preference; without any, all.
pub(super) fn suites(names: &[String]) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut all: Vec<_> = SUITES_13.iter().map(|known| known.1).collect();
    for name in names {
        if let Some(known) = SUITES_12.iter().find(|known| known.0 == name) {
            all.push(known.1);
        } else if name.ends_with("_CBC_SHA") && name.starts_with("TLS_ECDHE_") {
            return Err(format!(
                "cipher_suites: {name} is weak and not supported: use one with GCM or CHACHA20"
            ));
        } else if SUITES_13.iter().all(|known| known.0 != name) {
            return Err(format!("cipher_suites: unknown cipher `{name}`"));
        }
    }
    if names.is_empty() {
        all.extend(SUITES_12.iter().map(|known| known.1));
    }
    Ok(all)
}

/// In the order of preference; without any, all.
pub(super) fn groups(names: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    if names.is_empty() {
        return Ok(GROUPS.iter().map(|known| known.1).collect());
    }
    let group = |name: &String| match GROUPS.iter().find(|known| known.0 == name) {
        Some(known) => Ok(known.1),
        None if name == "CurveP521" => Err(format!(
            "curve_preferences: {name} is not supported: use X25519, CurveP256 or CurveP384"
        )),
        None => Err(format!("curve_preferences: unknown curve `{name}`")),
    };
    names.iter().map(group).collect()
}
