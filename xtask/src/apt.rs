//! Debian packages of other releases, by a private apt state that leaves the machine's own alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::setup::Unavailable;
use crate::{proc, workspace};

/// Limit of one apt run.
const LIMIT: Duration = Duration::from_secs(600);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Overrides the mirror of `/etc/apt`, for machines that are not Debian.
const MIRROR_VARIABLE: &str = "DEBIAN_MIRROR";

/// Where Debian is fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    main: String,
    security: String,
}

impl Mirror {
    /// The mirror in this machine's own apt sources, or in `DEBIAN_MIRROR`.
    pub(crate) fn find() -> Result<Self> {
        let given = std::env::var(MIRROR_VARIABLE)
            .ok()
            .filter(|uri| !uri.is_empty());
        let entries = match given {
            Some(uri) => vec![(uri, "given-updates".to_owned())],
            None if is_debian() => read_sources(),
            None => Vec::new(),
        };
        Self::among(&entries).ok_or_else(|| {
            let line = format!(
                "missing Debian mirror (kernels for --vm, sources for --kubernetes): /etc/apt names \
                 none; set {MIRROR_VARIABLE} to its URI, or use --no-vm"
            );
            Unavailable(vec![line]).into()
        })
    }

    /// The mirror among (URI, suite) entries: the one that has `-updates` beside the release, as
    /// third-party sources do not. Without an entry for it, security is beside the main archive.
    fn among(entries: &[(String, String)]) -> Option<Self> {
        let uri_of = |part: &str| entries.iter().find(|(_, suite)| suite.ends_with(part));
        let main = uri_of("-updates")
            .or_else(|| {
                entries
                    .iter()
                    .find(|(uri, _)| uri.trim_end_matches('/').ends_with("/debian"))
            })
            .map(|(uri, _)| uri.trim_end_matches('/').to_owned())?;
        let security =
            uri_of("-security").map_or_else(|| format!("{main}-security"), |(uri, _)| uri.clone());
        Some(Self { main, security })
    }
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian")
}

/// (URI, suite) of every enabled source of this machine.
fn read_sources() -> Vec<(String, String)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        if path
            .extension()
            .is_some_and(|extension| extension == "sources")
        {
            deb822(&text)
        } else {
            one_line(&text)
        }
    };
    files.iter().flat_map(read).collect()
}

/// Entries of the one-line format of sources.list(5).
fn one_line(text: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let line = line.trim().strip_prefix("deb ")?.trim_start();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

/// Entries of the deb822 format of sources.list(5).
fn deb822(text: &str) -> Vec<(String, String)> {
    let stanzas = text.split("\n\n");
    let entries = |stanza: &str| {
        let field = |name: &str| -> Vec<String> {
            let line = stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then_some(value)
            });
            line.unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        let (uris, suites) = (field("URIs"), field("Suites"));
        let pair = |uri: &String| {
            suites
                .iter()
                .map(|suite| (uri.clone(), suite.clone()))
                .collect::<Vec<_>>()
        };
        uris.iter().flat_map(pair).collect::<Vec<_>>()
    };
    stanzas.flat_map(entries).collect()
}

/// A private apt state that knows some suites.
pub(crate) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Fetches the indexes of `suites` into `target/vm/apt/NAME`.
    pub(crate) fn update(name: &str, suites: &[&str]) -> Result<Self> {
        Self::fetch(name, suites, &["deb"])
    }

    /// [`Apt::update`] that knows source packages too.
    pub(crate) fn update_with_sources(name: &str, suites: &[&str]) -> Result<Self> {
        Self::fetch(name, suites, &["deb", "deb-src"])
    }

    fn fetch(name: &str, suites: &[&str], kinds: &[&str]) -> Result<Self> {
        let mirror = Mirror::find()?;
        let dir = workspace::target_dir(&format!("vm/apt/{name}"))?;
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let lines = |suite| kinds.iter().map(move |kind| (kind, suite));
        let sources: String = suites
            .iter()
            .flat_map(lines)
            .map(|(kind, suite)| source_line(&mirror, kind, suite))
            .collect();
        fs::write(dir.join("sources.list"), sources)?;
        fs::write(dir.join("apt.conf"), configuration(&dir))?;
        let apt = Self {
            config: dir.join("apt.conf"),
        };
        let step = format!("indexes of {}", suites.join(", "));
        let done = proc::step(&step, apt.command("apt-get", &["update"]), LIMIT)?;
        if !done.success {
            // One suite may have moved to the archive: what the others have is seen later.
            done.show_tail()?;
        }
        Ok(apt)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = workspace::command(program);
        command.env("APT_CONFIG", &self.config).args(args);
        command
    }

    /// Names of all packages that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = proc::output(&mut self.command("apt-cache", &["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads `packages` into the empty directory `dir`; whether all of them came. apt checks
    /// them against the signed index.
    pub(crate) fn download(&self, packages: &[String], dir: &Path) -> Result<bool> {
        let args: Vec<&str> = std::iter::once("download")
            .chain(packages.iter().map(String::as_str))
            .collect();
        let mut command = self.command("apt-get", &args);
        command.current_dir(dir);
        let name = packages.first().map_or("", String::as_str);
        Ok(proc::step(&format!("download {name}"), command, LIMIT)?.success)
    }

    /// Downloads the newest source package `name`, checked as [`Apt::download`] does, and unpacks
    /// it in `dir`.
    pub(crate) fn source(&self, name: &str, dir: &Path) -> Result<()> {
        let mut command = self.command("apt-get", &["source", name]);
        command.current_dir(dir);
        proc::must(&format!("source of {name}"), command, LIMIT)?;
        Ok(())
    }
}

fn source_line(mirror: &Mirror, kind: &str, suite: &str) -> String {
    let uri = if suite.ends_with("-security") {
        &mirror.security
    } else {
        &mirror.main
    };
    // Releases past their end keep their last, expired indexes.
    let options = format!("arch=amd64 signed-by={KEYRING} check-valid-until=no");
    format!("{kind} [{options}] {uri} {suite} main\n")
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::State::lists \"{dir}/lists\";\n\
         Dir::State::status \"/dev/null\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
    )
}

/// Reads the mirror early, so that its lack is reported before anything long starts.
pub(crate) fn require_mirror() -> Result<()> {
    Mirror::find().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(uri: &str, suite: &str) -> (String, String) {
        (uri.to_owned(), suite.to_owned())
    }

    #[test]
    fn reads_both_formats() {
        let old =
            "# deb http://no/ x\ndeb [signed-by=/k arch=amd64] http://m/debian bookworm main\n";
        assert_eq!(one_line(old), [pair("http://m/debian", "bookworm")]);
        let new = "Types: deb\nURIs: http://m/debian\nSuites: a a-updates\n\n\
                   Types: deb\nURIs: http://s/debian-security\nSuites: a-security\n";
        let entries = deb822(new);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[2], pair("http://s/debian-security", "a-security"));
    }

    #[test]
    fn third_party_sources_are_no_mirror() {
        let foreign = [
            pair("http://other/apt", "nodistro"),
            pair("http://d/linux/debian", "bookworm"),
        ];
        assert_eq!(Mirror::among(&foreign[..1]), None);
        let main = [
            pair("http://m/debian/", "bookworm"),
            pair("http://m/debian/", "bookworm-updates"),
        ];
        let found = Mirror::among(&[foreign, main].concat()).unwrap();
        assert_eq!(found.main, "http://m/debian");
        assert_eq!(found.security, "http://m/debian-security");
    }
}
