//! A daemon with a web config file, and those who ask it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use testbed::{
    Netns, Proc, Tracer, cleanup::ScratchDir, keys::Authority, process::poll_until, tracer::LISTEN,
};

pub const LIMIT: Duration = Duration::from_secs(60);
/// Made by htpasswd of Apache (`htpasswd -nbBC 10 alice 'correct horse'`).
pub const USERS: &str = "basic_auth_users:\n  \
    alice: $2y$10$UB55.4EwRyv2OyhD.F2mYOaAP/xYrdPf3D1Vjaj39RoRSzFgVm3X.\n  \
    bob: $2y$04$W3ltmblNS1RWO/ONaDX2DeLPl9qVuUJlAoADmo2iHe6pv9uWgSvTm\n";
pub const ALICE: &str = "alice:correct horse";
/// A colon belongs to the password from the second on.
pub const BOB: &str = "bob:battery:staple";
/// The daemon's certificate, which [`Bed`] makes.
pub const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// A node with a daemon, and a directory with keys.
pub struct Bed {
    pub ns: Netns,
    pub process: Proc,
    pub ca: Authority,
    pub dir: ScratchDir,
}

impl Bed {
    /// Starts the daemon with this web config, among the files of [`keys`].
    pub fn start(web: &str) -> Result<Self> {
        Self::start_from("", |dir| Ok(std::fs::write(dir.join("web.yml"), web)?))
    }

    /// The same with the `web.yml` in a folder, which `fill` writes.
    pub fn start_from(folder: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let ca = keys(dir.path())?;
        fill(dir.path())?;
        let ns = Netns::new("node")?;
        ns.ip("link set lo up\n")?;
        let mut command = ns.command(Tracer::binary()?)?;
        let address = LISTEN.to_string();
        command.args(["run", "--interface", "lo", "--web.listen-address", &address]);
        command.arg("--socket").arg(dir.path().join("tracer.sock"));
        command
            .arg("--web.config.file")
            .arg(dir.path().join(folder).join("web.yml"));
        let process = ns.spawn(command)?;
        let mut bed = Self {
            ns,
            process,
            ca,
            dir,
        };
        poll_until(LIMIT, "not ready", || {
            let ended = bed.process.try_wait()?;
            ensure!(ended.is_none(), "{}", bed.process.stderr());
            Ok((bed.health(&[])?.0 == Some(0)).then_some(()))
        })?;
        Ok(bed)
    }

    /// Replaces the web config, as an editor or Kubernetes does: at once.
    pub fn web(&self, text: &str) -> Result<()> {
        let new = self.dir.write("web.yml.new", text)?;
        Ok(std::fs::rename(new, self.dir.path().join("web.yml"))?)
    }

    /// `tracer health`: its exit code and what it said.
    pub fn health(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = self.ns.command(Tracer::binary()?)?;
        command.arg("health").args(args);
        command
            .arg("--socket")
            .arg(self.dir.path().join("tracer.sock"));
        let mut process = self.ns.spawn(command)?;
        let status = process.wait(LIMIT)?;
        Ok((status.code(), process.stdout() + &process.stderr()))
    }

    /// curl in the directory of keys; the daemon's address and `path` come last.
    pub fn curl(&self, url: &str, args: &[&str]) -> Result<Curled> {
        let mut command = self.ns.command("curl")?;
        command.current_dir(self.dir.path());
        command.args(["-sS", "--max-time", "30", "-D", "-", "-o", "/dev/null"]);
        command.args(["-w", "%{http_code} %{http_version}"]);
        command.args(args).arg(url);
        let mut process = self.ns.spawn(command)?;
        let status = process.wait(LIMIT)?;
        let said = process.stdout();
        let last = said.lines().last().unwrap_or_default().to_owned();
        Ok(Curled {
            exit: status.code().unwrap_or(-1),
            answer: last,
            // And what curl complained of.
            head: said + &process.stderr(),
        })
    }

    /// The same for `/metrics`, by TLS, trusting the bed's authority.
    pub fn scrape(&self, args: &[&str]) -> Result<Curled> {
        let args = [&["--cacert", "ca.crt"], args].concat();
        self.curl("https://127.0.0.1:9400/metrics", &args)
    }

    /// What `openssl s_client` says of a handshake.
    pub fn s_client(&self, args: &[&str]) -> Result<String> {
        let mut command = self.ns.command("openssl")?;
        command.current_dir(self.dir.path());
        command.args(["s_client", "-connect", "127.0.0.1:9400"]);
        command.args(["-CAfile", "ca.crt", "-verify_return_error"]);
        command.args(args);
        let mut process = self.ns.spawn(command)?;
        process.wait(LIMIT)?;
        Ok(process.stdout() + &process.stderr())
    }

    /// What the daemon logged.
    pub fn said(&self) -> String {
        self.process.stderr()
    }
}

/// An answer that curl got, or did not.
#[derive(Debug)]
pub struct Curled {
    /// curl's exit code; 0: there was an answer.
    pub exit: i32,
    /// `CODE VERSION`.
    pub answer: String,
    pub head: String,
}

impl Curled {
    /// The status, of an answer that came.
    #[track_caller]
    pub fn is(&self, status: u16) {
        let status = status.to_string();
        assert!(
            self.exit == 0 && self.answer.starts_with(&status),
            "not {status}: {self:?}"
        );
    }

    /// The connection came to nothing.
    #[track_caller]
    pub fn failed(&self) {
        assert!(self.exit != 0 && self.answer.starts_with("000"), "{self:?}");
    }
}

/// An authority `ca`, the daemon's certificate `server`, and some of clients.
fn keys(dir: &Path) -> Result<Authority> {
    let ca = Authority::new(dir, "ca")?;
    ca.issue(
        "server",
        "tracer",
        "IP:127.0.0.1,DNS:localhost",
        "serverAuth",
    )?;
    Ok(ca)
}

/// The path of a file as an argument.
pub fn path(dir: &ScratchDir, name: &str) -> PathBuf {
    dir.path().join(name)
}
