//! Network namespaces.

use std::{
    fs::File, os::fd::AsFd as _, os::unix::process::CommandExt as _, path::Path, process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, killpg},
    unistd::{Pid, geteuid},
};

use crate::{
    cleanup::{
        Entry, NETNS_DIR, delete_netns, forget, install_signal_cleanup, register, registry, unique,
    },
    process::{Proc, poll_until, run},
};

/// A named network namespace of our own. Dropping it kills the processes that
/// were started in it and deletes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes an empty namespace `bed-<pid>-<n>-<label>` with loopback up.
    pub fn new(label: &str) -> Result<Self> {
        let mut made = Self::many(&[label])?;
        made.pop().context("no namespace was made")
    }

    /// Makes one namespace per label with a single `ip` process.
    pub fn many(labels: &[&str]) -> Result<Vec<Self>> {
        ensure!(
            geteuid().is_root(),
            "making network namespaces needs root (CAP_SYS_ADMIN): run it with sudo"
        );
        install_signal_cleanup();
        // `ip` makes only the last directory; a VM's initramfs may lack /run.
        std::fs::create_dir_all("/run").context("make /run")?;
        let names: Vec<String> = labels
            .iter()
            .map(|label| format!("bed-{}-{}-{label}", std::process::id(), unique()))
            .collect();
        let mut batch = String::new();
        for name in &names {
            register(Entry::Netns(name.clone()));
            batch.push_str(&format!("netns add {name}\n"));
        }
        let mut ip = Command::new("ip");
        ip.args(["-batch", "-"]);
        let added = run(ip, &batch);
        let made: Result<Vec<Self>> = names.iter().map(|name| Self::open(name)).collect();
        if added.is_err() || made.is_err() {
            for name in &names {
                delete_netns(name);
                forget(&Entry::Netns(name.clone()));
            }
        }
        added.context("make network namespaces")?;
        let made = made?;
        for ns in &made {
            ns.ip("link set lo up\n")?;
        }
        Ok(made)
    }

    fn open(name: &str) -> Result<Self> {
        let path = Path::new(NETNS_DIR).join(name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self {
            name: name.to_owned(),
            file,
        })
    }

    /// A namespace that a user without rights makes, in a user namespace of its own:
    /// `nobody` is root in there, and nowhere else. `None` where the kernel allows
    /// no such thing. The process holds it.
    pub fn of_nobody() -> Result<Option<(Self, Proc)>> {
        const UNSHARE: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups \
                               unshare -Urn";
        let command = |program: &str| {
            let mut words = UNSHARE.split_whitespace();
            let mut command = Command::new(words.next().unwrap_or("setpriv"));
            command.args(words).args(program.split(' '));
            command
        };
        if run(command("true"), "").is_err() {
            return Ok(None);
        }
        let holder = Proc::start(command("sleep 600"))?;
        let name = format!("bed-{}-{}-nobody", std::process::id(), unique());
        let made = Path::new("/proc").join(holder.pid().to_string());
        let own = std::fs::read_link("/proc/self/ns/net").context("the own namespace")?;
        poll_until(Duration::from_secs(5), "no namespace of nobody's", || {
            Ok(std::fs::read_link(made.join("ns/net"))
                .ok()
                .filter(|theirs| *theirs != own))
        })?;
        register(Entry::Netns(name.clone()));
        let mut ip = Command::new("ip");
        ip.args(["netns", "attach", &name, &holder.pid().to_string()]);
        run(ip, "").context("name the namespace")?;
        let ns = Self::open(&name)?;
        ns.ip("link set lo up\n")?;
        Ok(Some((ns, holder)))
    }

    /// The name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` in a thread that has joined the namespace and returns its
    /// value; a panic in it goes on here. Sockets made inside stay there.
    ///
    /// Inside, read `/proc/thread-self/net`, not `/proc/net`: the latter shows
    /// the namespace of the process' main thread.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| -> Result<T> {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).context("setns")?;
                Ok(work())
            });
            match thread.join() {
                Ok(value) => value.with_context(|| format!("enter {}", self.name)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A command that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let file = self.file.try_clone().context("share the namespace")?;
        let mut command = Command::new(program);
        // SAFETY: the closure calls only setns(2), which is async-signal-safe.
        unsafe {
            command.pre_exec(move || Ok(setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?));
        }
        Ok(command)
    }

    /// Runs a program in the namespace to its end and returns its standard
    /// output. A status other than 0 is an error with what it printed.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        self.run_with(argv, "")
    }

    /// [`Netns::run`] with `input` on the standard input.
    pub fn run_with(&self, argv: &[&str], input: &str) -> Result<String> {
        let (program, args) = argv.split_first().context("an empty command")?;
        let mut command = self.command(program)?;
        command.args(args);
        run(command, input).with_context(|| format!("in {}", self.name))
    }

    /// Runs the lines of `batch` with `ip -batch`.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.run_with(&["ip", "-batch", "-"], batch)
            .map(drop)
            .with_context(|| format!("batch was:\n{batch}"))
    }

    /// Starts a command made by [`Netns::command`].
    pub fn spawn(&self, command: Command) -> Result<Proc> {
        Proc::start_in(command, self.name.clone()).with_context(|| format!("in {}", self.name))
    }

    /// Starts a program in the namespace.
    pub fn start(&self, argv: &[&str]) -> Result<Proc> {
        let (program, args) = argv.split_first().context("an empty command")?;
        let mut command = self.command(program)?;
        command.args(args);
        self.spawn(command)
    }

    /// Writes sysctls, each `("net/ipv4/ip_forward", "1")`. With `?` before its
    /// name, one that this kernel does not have is left out.
    pub fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                let optional = key.strip_prefix('?');
                let path = Path::new("/proc/sys").join(optional.unwrap_or(key));
                if optional.is_some() && !path.exists() {
                    continue;
                }
                std::fs::write(&path, value).with_context(|| format!("{}", path.display()))?;
            }
            Ok(())
        })?
    }

    /// A counter of `/proc/net/snmp` or `/proc/net/netstat` of the namespace,
    /// for example `("TcpExt", "ListenOverflows")`; 0 when the kernel lacks it.
    pub fn counter(&self, group: &str, name: &str) -> Result<u64> {
        let text = self.enter(|| {
            let read =
                |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
            Ok::<_, std::io::Error>(read("snmp")? + &read("netstat")?)
        })??;
        let prefix = format!("{group}: ");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let found = names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find(|(n, _)| *n == name);
        found.map_or(Ok(0), |(_, value)| {
            value.parse().with_context(|| format!("{group} {name}"))
        })
    }

    /// Packets that `interface` dropped instead of sending them. On a veth pair
    /// that is also what the other end had no room for.
    pub fn send_drops(&self, interface: &str) -> Result<u64> {
        let text = self.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        let prefix = format!("{interface}:");
        let mut lines = text.lines().map(str::trim_start);
        let line = lines.find_map(|line| line.strip_prefix(&prefix));
        // Eight columns of what was received, then bytes, packets, errors, drops.
        let column = line.and_then(|line| line.split_whitespace().nth(11));
        let drops = column.and_then(|drops| drops.parse().ok());
        drops.with_context(|| format!("counters of {interface}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Only signalled here: the `Proc` that owns the process reaps it.
        for entry in registry().iter() {
            if let Entry::Process { pid, netns } = entry
                && *netns == self.name
            {
                let _ = killpg(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
        delete_netns(&self.name);
        forget(&Entry::Netns(std::mem::take(&mut self.name)));
    }
}
