//! tcpdump and tshark: the second opinion. (Not in VM guests.)

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{
    cleanup::ScratchDir,
    netns::Netns,
    process::{Proc, run},
};

/// A running tcpdump that writes to a file of its own.
#[derive(Debug)]
pub struct Capture {
    dir: ScratchDir,
    process: Proc,
}

/// A finished capture; the file goes when it is dropped.
#[derive(Debug)]
pub struct Captured {
    _dir: ScratchDir,
    path: PathBuf,
    said: String,
}

impl Capture {
    /// Captures on `interface` of `ns`; `filter` in pcap's words, `""` for all.
    /// Returns when packets are being taken.
    pub fn start(ns: &Netns, interface: &str, filter: &str) -> Result<Self> {
        let dir = ScratchDir::new()?;
        let mut command = ns.command("tcpdump")?;
        command
            .args([
                "--immediate-mode",
                "-i",
                interface,
                "-U",
                "-n",
                "-B",
                "8192",
                "-Z",
                "root",
                "-w",
            ])
            .arg(dir.path().join("capture.pcap"))
            .args(filter.split_whitespace());
        let mut process = ns.spawn(command).context("is tcpdump installed?")?;
        process.wait_until(Duration::from_secs(10), "tcpdump did not start", |p| {
            p.stderr().contains("listening on")
        })?;
        Ok(Self { dir, process })
    }

    /// Stops tcpdump after it has written what it has seen.
    pub fn stop(mut self) -> Result<Captured> {
        // A stopping tcpdump leaves out the packets that it has not read yet.
        std::thread::sleep(Duration::from_millis(200));
        self.process.stop(Signal::SIGINT, Duration::from_secs(10))?;
        Ok(Captured {
            path: self.dir.path().join("capture.pcap"),
            _dir: self.dir,
            said: self.process.stderr(),
        })
    }
}

impl Captured {
    /// What tcpdump says of packets that it could not take.
    #[must_use]
    pub fn lost(&self) -> &str {
        let lines = self.said.lines();
        lines
            .rev()
            .find(|line| line.contains("dropped by"))
            .unwrap_or("tcpdump says nothing of lost packets")
    }

    /// The pcap file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The values of `fields` in each packet that matches the display filter,
    /// read in two passes (`tcp.completeness` needs them).
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        tshark_fields(&self.path, filter, fields)
    }

    /// The `tcp.completeness` of every connection, in order of their SYNs:
    /// 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST, added up. ICMP errors,
    /// which quote the SYN, are left out.
    pub fn completeness(&self) -> Result<Vec<u32>> {
        let filter = "tcp.flags.syn == 1 && tcp.flags.ack == 0 && !icmp && !icmpv6 \
                      && !tcp.analysis.retransmission";
        let rows = self.fields(filter, &["tcp.completeness"])?;
        rows.iter()
            .map(|row| row.concat().parse().context("tcp.completeness"))
            .collect()
    }
}

/// [`Captured::fields`] for any file.
pub fn tshark_fields(file: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.args(["-2", "-n", "-r"]).arg(file);
    command.args(["-R", filter, "-T", "fields", "-E", "separator=/t"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = run(command, "").context("is tshark installed?")?;
    let row = |line: &str| line.split('\t').map(str::to_owned).collect();
    Ok(text.lines().map(row).collect())
}
