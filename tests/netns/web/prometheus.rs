//! A real Prometheus that scrapes by TLS and password, while the certificate
//! changes as a Secret in a pod does.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use anyhow::{Context as _, Result};
use testbed::{peers::Prometheus, process::poll_until};

use crate::bed::{Bed, LIMIT, USERS, path};

const FILES: [&str; 3] = ["web.yml", "tls.crt", "tls.key"];
const WEB: &str = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n";

/// Fills the volume as the kubelet does: a new directory with all files, then one
/// rename of the link that all names lead through.
fn fill(volume: &Path, version: &str, web: &str, certificate: &Path, key: &Path) -> Result<()> {
    let data = volume.join(version);
    fs::create_dir(&data)?;
    fs::write(data.join("web.yml"), web)?;
    fs::copy(certificate, data.join("tls.crt"))?;
    fs::copy(key, data.join("tls.key"))?;
    for file in FILES {
        fs::set_permissions(data.join(file), Permissions::from_mode(0o600))?;
    }
    symlink(version, volume.join("..data_tmp"))?;
    fs::rename(volume.join("..data_tmp"), volume.join("..data"))?;
    for file in FILES {
        let name = volume.join(file);
        if !name.exists() {
            symlink(Path::new("..data").join(file), name)?;
        }
    }
    Ok(())
}

fn serial(bed: &Bed) -> Result<String> {
    let said = bed.s_client(&["-showcerts"])?;
    let end = "-----END CERTIFICATE-----";
    let shown = said.split(end).next().context(said.clone())?;
    Ok(shown.lines().rev().take(3).collect())
}

#[test]
fn prometheus_scrapes_while_the_secret_changes() -> Result<()> {
    let web = format!("{WEB}{USERS}");
    let bed = Bed::start_from("secret", |dir| {
        let volume = dir.join("secret");
        fs::create_dir(&volume)?;
        let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
        fill(&volume, "..2026_1", &web, &certificate, &key)
    })?;
    let ca = path(&bed.dir, "ca.crt");
    let job = |name: &str, password: &str| {
        format!(
            "- {{job_name: {name}, scheme: https, tls_config: {{ca_file: {}}}, \
             basic_auth: {{username: bob, password: '{password}'}}, \
             static_configs: [{{targets: ['127.0.0.1:9400']}}]}}\n",
            ca.display()
        )
    };
    let jobs = job("tracer", "battery:staple") + &job("stranger", "wrong");
    let prometheus = Prometheus::configured(&bed.ns, &format!("scrape_configs:\n{jobs}"))?;
    let up = |value: f64| {
        poll_until(LIMIT, "up is not as it should be", || {
            let series = prometheus.query("up{job=\"tracer\"}")?;
            let found = series
                .first()
                .and_then(|s| s["value"][1].as_str()?.parse().ok());
            Ok((found == Some(value)).then_some(()))
        })
    };
    up(1.0)?;
    let before = serial(&bed)?;
    bed.ca
        .issue("new", "tracer", "IP:127.0.0.1", "serverAuth")?;
    let (certificate, key) = (path(&bed.dir, "new.crt"), path(&bed.dir, "new.key"));
    let volume = path(&bed.dir, "secret");
    fill(&volume, "..2026_2", &web, &certificate, &key)?;
    assert_ne!(serial(&bed)?, before);
    // Scrapes go on.
    let scrapes = "sum_over_time(up{job=\"tracer\"}[10m])";
    let so_far = prometheus.value(scrapes)?;
    poll_until(LIMIT, "no more scrapes", || {
        Ok((prometheus.value(scrapes)? >= so_far + 3.0).then_some(()))
    })?;
    let strange = "max_over_time(up{job=\"stranger\"}[10m])";
    assert_eq!(prometheus.value(strange)?, 0.0);
    fill(&volume, "..2026_3", "nonsense: 1\n", &certificate, &key)?;
    up(0.0)?;
    fill(&volume, "..2026_4", &web, &certificate, &key)?;
    up(1.0)
}
