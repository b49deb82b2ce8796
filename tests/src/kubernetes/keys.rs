//! Keys and certificates of the API server, by openssl.

use std::{net::Ipv4Addr, path::Path, process::Command};

use anyhow::Result;

use crate::process::run;

/// Certificate of the authority.
pub(super) const CA: &str = "ca.crt";
/// The API server's certificate.
pub(super) const CERTIFICATE: &str = "api.crt";
/// Its key, which signs service accounts too.
pub(super) const KEY: &str = "api.key";

/// Makes them in `dir`, for the API server at `address` and on loopback.
pub(super) fn make(dir: &Path, address: Ipv4Addr) -> Result<()> {
    let request = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.current_dir(dir).args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ]);
        command.args(args);
        run(command, "").map(drop)
    };
    request(&["-keyout", "ca.key", "-out", CA, "-subj", "/CN=bed"])?;
    let names = format!("subjectAltName=IP:127.0.0.1,IP:{address},IP:10.96.0.1,DNS:localhost");
    request(&[
        "-CA",
        CA,
        "-CAkey",
        "ca.key",
        "-keyout",
        KEY,
        "-out",
        CERTIFICATE,
        "-subj",
        "/CN=kube-apiserver",
        "-addext",
        &names,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=serverAuth",
    ])
}
