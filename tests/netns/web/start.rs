//! Files that cannot be used: said at the start, and by `tracer check`.

use anyhow::{Result, ensure};
use testbed::{Netns, Tracer, cleanup::ScratchDir, keys::Authority, leftovers::nothing_attached};

use crate::bed::{LIMIT, TLS, USERS, path};

fn runs(ns: &Netns, command: &str, dir: &ScratchDir) -> Result<(Option<i32>, String)> {
    let mut tracer = ns.command(Tracer::binary()?)?;
    tracer
        .arg(command)
        .arg("--web.config.file")
        .arg(path(dir, "web.yml"));
    let mut process = ns.spawn(tracer)?;
    let status = process.wait(LIMIT)?;
    Ok((status.code(), process.stderr()))
}

#[test]
fn what_is_wrong_with_the_file_is_said() -> Result<()> {
    let (ns, dir) = (Netns::new("node")?, ScratchDir::new()?);
    let ca = Authority::new(dir.path(), "ca")?;
    ca.issue("server", "tracer", "IP:127.0.0.1", "serverAuth")?;
    ca.issue("other", "other", "IP:127.0.0.1", "serverAuth")?;
    let cases = [
        ("tls_server_config: {cert_fil: a}\n", "cert_fil"),
        (
            "tls_server_config: {cert_file: gone.crt, key_file: server.key}\n",
            "gone.crt: No such file",
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: other.key}\n",
            "certificate and key",
        ),
        (
            "tls_server_config: {cert_file: server.key, key_file: server.key}\n",
            "no certificate in PEM",
        ),
        (
            "basic_auth_users: {alice: plain}\n",
            "alice: no bcrypt hash",
        ),
        ("just words\n", "web.yml"),
    ];
    let old = format!("{TLS}  min_version: TLS10\n");
    let cases = cases
        .into_iter()
        .chain([(old.as_str(), "use TLS12 or TLS13")]);
    for (text, named) in cases {
        dir.write("web.yml", text)?;
        for command in ["run", "check"] {
            let (code, said) = runs(&ns, command, &dir)?;
            ensure!(code == Some(78), "{command}: {code:?}: {text}{said}");
            ensure!(
                said.contains(named) && said.contains("docs/web-config.md"),
                "{said}"
            );
        }
        nothing_attached(&ns)?;
    }
    for good in [
        "",
        &format!("{TLS}{USERS}rate_limit: {{interval: \"1s\", burst: 20}}\n"),
    ] {
        dir.write("web.yml", good)?;
        let (code, said) = runs(&ns, "check", &dir)?;
        ensure!(code == Some(0), "{code:?}: {good}{said}");
    }
    Ok(())
}
