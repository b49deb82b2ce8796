//! Keys and certificates, by openssl.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::process::run;

/// An authority with its files in a directory: `NAME.crt`, `NAME.key`.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    name: String,
}

impl Authority {
    /// Makes one that vouches for two days.
    pub fn new(dir: &Path, name: &str) -> Result<Self> {
        let authority = Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
        };
        authority.request(name, name, &[])?;
        Ok(authority)
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join(format!("{}.crt", self.name))
    }

    /// Makes `FILE.crt` and `FILE.key` for the subject `name`, with these alternative names
    /// (`IP:127.0.0.1,DNS:localhost`) and for this use (`serverAuth`, `clientAuth`).
    pub fn issue(&self, file: &str, name: &str, names: &str, usage: &str) -> Result<()> {
        let (certificate, key) = (format!("{}.crt", self.name), format!("{}.key", self.name));
        let names = format!("subjectAltName={names}");
        let usage = format!("extendedKeyUsage={usage}");
        let by = ["-CA", &certificate, "-CAkey", &key];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let rest = ["-addext", &names, "-addext", &usage];
        self.request(file, name, &[&by[..], &leaf, &rest].concat())
    }

    fn request(&self, file: &str, name: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.current_dir(&self.dir);
        command.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
        command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-subj", &format!("/CN={name}")]);
        command.args(["-keyout", &format!("{file}.key")]);
        command.args(["-out", &format!("{file}.crt")]).args(args);
        run(command, "").map(drop)
    }
}
