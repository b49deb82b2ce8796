//! Keys and certificates of the API server.

use std::{net::Ipv4Addr, path::Path};

use anyhow::Result;

use crate::keys::Authority;

/// Certificate of the authority.
pub(super) const CA: &str = "ca.crt";
/// The API server's certificate.
pub(super) const CERTIFICATE: &str = "api.crt";
/// Its key, which signs service accounts too.
pub(super) const KEY: &str = "api.key";

/// Makes them in `dir`, for the API server at `address` and on loopback.
pub(super) fn make(dir: &Path, address: Ipv4Addr) -> Result<()> {
    let names = format!("IP:127.0.0.1,IP:{address},IP:10.96.0.1,DNS:localhost");
    let ca = Authority::new(dir, "ca")?;
    ca.issue("api", "kube-apiserver", &names, "serverAuth")
}
