//! Files of the operator in a file system that hangs: FUSE whose server never answers, so that no
//! call that looks at a name there returns. The daemon alone has it mounted.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::symlink, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use testbed::{
    Netns, Proc, Tracer, cleanup::ScratchDir, http, leftovers::nothing_attached,
    process::poll_until, tracer::LISTEN,
};

const LIMIT: Duration = Duration::from_secs(60);
/// What SIGTERM may take, whatever hangs.
const STOP: Duration = Duration::from_secs(2);
const SERVICES: &str = "ports: [{node_port: 30101, namespace: thrift, service: users}]\n";
const WEB: &str = "http_server_config: {headers: {X-Frame-Options: deny}}\n";

struct Bed {
    ns: Netns,
    dir: ScratchDir,
    /// Without a reader of it, all calls end; it is the file system's server.
    _server: Option<File>,
}

impl Bed {
    fn new() -> Result<Self> {
        let ns = Netns::new("node")?;
        ns.ip("link set lo up\n")?;
        let dir = ScratchDir::new()?;
        std::fs::create_dir(dir.path().join("hangs"))?;
        dir.write("services.yaml", SERVICES)?;
        dir.write("web.yml", WEB)?;
        Ok(Self {
            ns,
            dir,
            _server: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `tracer run` with these arguments, and the folder `hangs` as what it is called.
    fn tracer(&mut self, args: &[&str]) -> Result<Command> {
        let mut command = self.ns.command(Tracer::binary()?)?;
        command.args(["run", "--interface", "lo", "--socket", "none"]);
        command.args(["--web.listen-address", &LISTEN.to_string()]);
        command.args(args);
        let server = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        hang(&mut command, &self.path("hangs"), &server)?;
        self._server = Some(server);
        Ok(command)
    }

    /// Points the name at another file, at once.
    fn link(&self, name: &str, to: &str) -> Result<()> {
        let new = self.path("new");
        symlink(self.path(to), &new)?;
        Ok(std::fs::rename(new, self.path(name))?)
    }
}

/// Mounts the file system for this program alone.
fn hang(command: &mut Command, at: &Path, server: &File) -> Result<()> {
    let at = CString::new(at.as_os_str().as_bytes())?;
    let number = server.as_raw_fd();
    let options = format!("fd={number},rootmode=40000,user_id=0,group_id=0");
    let options = CString::new(options)?;
    let done = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    let enter = move || {
        let none = std::ptr::null();
        // SAFETY: takes an integer alone.
        done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: NUL-terminated strings or null, all alive during the call.
        done(unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) })?;
        let (name, kind) = (c"test".as_ptr(), c"fuse".as_ptr());
        // SAFETY: as above.
        done(unsafe { libc::mount(name, at.as_ptr(), kind, 0, options.as_ptr().cast()) })
    };
    // SAFETY: the closure calls only unshare(2) and mount(2), which are async-signal-safe, and
    // allocates nothing.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

fn status(bed: &Bed) -> Result<u16> {
    Ok(http::get(&bed.ns, LISTEN, "/metrics", "")?.status)
}

fn ready(bed: &Bed, process: &mut Proc) -> Result<()> {
    process.wait_until(LIMIT, "not ready", |_| {
        http::get(&bed.ns, LISTEN, "/readyz", "").is_ok_and(|r| r.status == 200)
    })
}

fn stops(bed: &Bed, process: &mut Proc) -> Result<()> {
    let begun = Instant::now();
    let status = process.stop(Signal::SIGTERM, LIMIT)?;
    let took = begun.elapsed();
    ensure!(status.success(), "{status}: {}", process.stderr());
    ensure!(took < STOP, "{took:?}: {}", process.stderr());
    nothing_attached(&bed.ns)
}

fn said(process: &Proc, words: &[&str]) -> usize {
    let said = process.stderr();
    let lines = said.lines();
    lines
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .count()
}

/// What the daemon follows comes to hang, and to be a pipe, and is well again.
#[test]
fn files_that_come_to_hang() -> Result<()> {
    let mut bed = Bed::new()?;
    mkfifo(&bed.path("pipe"), Mode::S_IRWXU)?;
    bed.link("services", "services.yaml")?;
    bed.link("web", "web.yml")?;
    let (services, web) = (bed.path("services"), bed.path("web"));
    let [services, web] = [&services, &web].map(|path| path.to_str().unwrap_or_default());
    let command = bed.tracer(&["--services", services, "--web.config.file", web])?;
    let mut process = bed.ns.spawn(command)?;
    ready(&bed, &mut process)?;
    let wrong = [("hangs/file", "did not answer"), ("pipe", "a named pipe")];
    for (round, (wrong, cause)) in (1..).zip(wrong) {
        bed.link("services", wrong)?;
        bed.link("web", wrong)?;
        // One waits for the file system, and the next for nothing.
        for _ in 0..4 {
            ensure!(status(&bed)? == 500, "{wrong}: {}", process.stderr());
        }
        poll_until(LIMIT, "the names are not told", || {
            let told = said(&process, &["the names stay as they were", cause]);
            Ok((told == 1).then_some(()))
        })?;
        ensure!(
            said(&process, &["nobody is served", cause]) == 1,
            "{}",
            process.stderr()
        );
        bed.link("services", "services.yaml")?;
        bed.link("web", "web.yml")?;
        poll_until(LIMIT, "it is not served again", || {
            Ok((status(&bed)? == 200).then_some(()))
        })?;
        poll_until(LIMIT, "the names are not read again", || {
            Ok((said(&process, &["names read anew"]) == round).then_some(()))
        })?;
    }
    bed.link("services", "hangs/file")?;
    bed.link("web", "hangs/file")?;
    ensure!(status(&bed)? == 500, "{}", process.stderr());
    stops(&bed, &mut process)
}

/// Nothing starts by a file that hangs, and it is said which.
#[test]
fn files_that_hang_at_the_start() -> Result<()> {
    let mut bed = Bed::new()?;
    let hangs = bed.path("hangs/file");
    let hangs = hangs.to_str().context("path")?;
    let authority = format!(
        "{{current-context: c, contexts: [{{name: c, context: {{cluster: c}}}}], \
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1', \
         certificate-authority: {hangs}}}}}]}}\n"
    );
    let authority = bed.dir.write("authority", &authority)?;
    let certificate = format!("tls_server_config: {{cert_file: {hangs}, key_file: {hangs}}}\n");
    let certificate = bed.dir.write("certificate", &certificate)?;
    let [authority, certificate] =
        [&authority, &certificate].map(|path| path.to_str().unwrap_or_default());
    for (flag, file) in [
        ("--config", hangs),
        ("--services", hangs),
        ("--kubeconfig", hangs),
        ("--kubeconfig", authority),
        ("--web.config.file", hangs),
        ("--web.config.file", certificate),
    ] {
        let command = bed.tracer(&[flag, file])?;
        let begun = Instant::now();
        let mut process = bed.ns.spawn(command)?;
        let status = process.wait(LIMIT)?;
        let (took, told) = (begun.elapsed(), process.stderr());
        ensure!(status.code() == Some(1), "{flag} {file}: {status}: {told}");
        ensure!(took < STOP, "{flag} {file}: {took:?}: {told}");
        ensure!(
            said(&process, &[hangs, "did not answer within 1 s"]) == 1,
            "{told}"
        );
        nothing_attached(&bed.ns)?;
    }
    Ok(())
}
