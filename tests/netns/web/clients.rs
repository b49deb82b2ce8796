//! Certificates of clients.

use std::process::Command;

use anyhow::Result;
use testbed::{keys::Authority, process::run};

use crate::bed::{Bed, TLS};

fn policy(name: &str) -> String {
    format!("{TLS}  client_auth_type: {name}\n")
}

fn with<'a>(certificate: &'a str, key: &'a str) -> [&'a str; 4] {
    ["--cert", certificate, "--key", key]
}

#[test]
fn certificates_of_clients() -> Result<()> {
    let bed = Bed::start(TLS)?;
    let names = "DNS:prometheus.example,IP:10.0.0.1,email:a@b.example,URI:spiffe://x/y";
    bed.ca.issue("client", "client", names, "clientAuth")?;
    bed.ca.issue(
        "not-client",
        "server",
        "DNS:prometheus.example",
        "serverAuth",
    )?;
    let strange = Authority::new(bed.dir.path(), "strange")?;
    strange.issue(
        "stranger",
        "stranger",
        "DNS:prometheus.example",
        "clientAuth",
    )?;
    let client = with("client.crt", "client.key");
    let stranger = with("stranger.crt", "stranger.key");

    bed.web(&policy("RequireAnyClientCert"))?;
    bed.scrape(&[])?.failed();
    bed.scrape(&client)?.is(200);
    bed.scrape(&stranger)?.is(200);
    bed.web(&policy("RequestClientCert"))?;
    bed.scrape(&[])?.is(200);
    bed.scrape(&stranger)?.is(200);

    let authority = "  client_ca_file: ca.crt\n";
    bed.web(&(policy("VerifyClientCertIfGiven") + authority))?;
    bed.scrape(&[])?.is(200);
    bed.scrape(&client)?.is(200);
    bed.scrape(&stranger)?.failed();
    let required = policy("RequireAndVerifyClientCert") + authority;
    bed.web(&required)?;
    bed.scrape(&[])?.failed();
    bed.scrape(&stranger)?.failed();
    bed.scrape(&with("not-client.crt", "not-client.key"))?
        .failed();
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        bed.scrape(&[&client[..], version].concat())?.is(200);
    }
    for name in [
        "prometheus.example",
        "10.0.0.1",
        "a@b.example",
        "spiffe://x/y",
    ] {
        bed.web(&format!(
            "{required}  client_allowed_sans: [other, '{name}']\n"
        ))?;
        bed.scrape(&client)?.is(200);
    }
    // Exactly: no wildcards, no subject.
    for name in ["client", "*.example", "example"] {
        bed.web(&format!("{required}  client_allowed_sans: ['{name}']\n"))?;
        bed.scrape(&client)?.failed();
    }
    itself(&bed)
}

/// One that nobody signed, and that the file trusts as it is.
fn itself(bed: &Bed) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(bed.dir.path());
    openssl.args([
        "req", "-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048",
    ]);
    openssl.args(["-subj", "/CN=own", "-keyout", "own.key", "-out", "own.crt"]);
    run(openssl, "")?;
    let own = with("own.crt", "own.key");
    let required = policy("RequireAndVerifyClientCert");
    bed.web(&format!("{required}  client_ca_file: own.crt\n"))?;
    bed.scrape(&own)?.is(200);
    bed.web(&format!("{required}  client_ca_file: strange.crt\n"))?;
    bed.scrape(&own)?.failed();
    Ok(())
}
