//! Stock Debian kernels, cloud flavour, unpacked under `target/vm/kernels/SERIES`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::{proc, workspace};

/// Where the kernels of a series come from.
struct Series {
    /// Name on the command line.
    name: &'static str,
    suites: &'static [&'static str],
    /// Tried first, so that a new kernel does not change the tests from one day to the next.
    pin: Option<Pin>,
}

/// A release and the SHA-256 of its image package.
struct Pin {
    release: &'static str,
    sha256: &'static str,
}

/// All series, oldest first.
const SERIES: &[Series] = &[
    Series {
        name: "5.10",
        suites: &["bullseye", "bullseye-security"],
        pin: Some(Pin {
            release: "5.10.0-46-cloud-amd64",
            sha256: "18d94781d1b3052e21967ac2262239e5f14fbf511d6c3e110629d7aa35340760",
        }),
    },
    Series {
        name: "6.1",
        suites: &["bookworm", "bookworm-security"],
        pin: Some(Pin {
            release: "6.1.0-56-cloud-amd64",
            sha256: "e7d02b943971edcb8790e256c02cfab3bca6c3d37c1bf25392a57c71300615ee",
        }),
    },
    Series {
        name: "6.12",
        suites: &["trixie", "trixie-security"],
        pin: Some(Pin {
            release: "6.12.117+deb13-cloud-amd64",
            sha256: "e9893e5295d0549b8852611f12a4b8b5f6cc4b8128dcc2086b9847793b904ab7",
        }),
    },
    Series {
        name: "6.18",
        suites: &["trixie-backports"],
        // Versions there vanish within weeks; then it is the newest one.
        pin: Some(Pin {
            release: "6.18.15+deb13-cloud-amd64",
            sha256: "5a507681ea8c978d02265a7fec2f02c9588fb48b54b7f71edc1059e86007f3ec",
        }),
    },
    Series {
        // By its name it cannot be pinned.
        name: NEWEST,
        suites: &["trixie-backports", "sid"],
        pin: None,
    },
];

/// The series without a number.
const NEWEST: &str = "newest";
const FLAVOUR: &str = "-cloud-amd64";
/// Versions that are tried: indexes list files that have vanished from the mirrors.
const ATTEMPTS: usize = 8;

/// An unpacked kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its directory of the cache.
    pub(crate) dir: PathBuf,
    /// As `uname -r` prints it.
    pub(crate) release: String,
    /// The image to boot.
    pub(crate) image: PathBuf,
}

impl Kernel {
    /// Directory that holds `lib/modules/RELEASE`.
    pub(crate) fn modules_base(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The kernel unpacked in `dir`, if a complete one is there.
    fn cached(dir: &Path) -> Option<Self> {
        let release = fs::read_to_string(dir.join("release"))
            .ok()?
            .trim()
            .to_owned();
        let modules = dir.join("root/usr/lib/modules").join(&release);
        let images = [
            dir.join(format!("root/boot/vmlinuz-{release}")),
            modules.join("vmlinuz"),
        ];
        let image = images.into_iter().find(|image| image.is_file())?;
        Some(Self {
            dir: dir.to_owned(),
            release,
            image,
        })
    }
}

/// Names of the known series, oldest first.
pub(crate) fn series_names() -> Vec<&'static str> {
    SERIES.iter().map(|known| known.name).collect()
}

/// The kernel of `series`: from the cache, else the newest that really downloads.
pub(crate) fn obtain(series: &str) -> Result<Kernel> {
    let known = SERIES.iter().find(|known| known.name == series);
    let series = known.with_context(|| {
        format!(
            "no kernel series {series}: known are {}",
            series_names().join(", ")
        )
    })?;
    let dir = workspace::target_dir(&format!("vm/kernels/{}", series.name))?;
    if let Some(kernel) = Kernel::cached(&dir) {
        return Ok(kernel);
    }
    let apt = Apt::update(series.name, series.suites)?;
    let names = apt.names("linux-")?;
    let pinned = series.pin.as_ref().map(|pin| pin.release.to_owned());
    let mut newest = releases(&names, series.name);
    newest.retain(|release| Some(release) != pinned.as_ref());
    newest.truncate(ATTEMPTS);
    for release in pinned.into_iter().chain(newest) {
        for packages in package_sets(&names, &release) {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
            let debs = workspace::target_dir(&format!("vm/kernels/{}/debs", series.name))?;
            if apt.download(&packages, &debs)? && as_pinned(series, &release, &debs)? {
                unpack(&dir, &debs, &release)?;
                let incomplete = || format!("{} has no kernel image", packages.join(", "));
                return Kernel::cached(&dir).with_context(incomplete);
            }
            eprintln!("  {} cannot be had: trying the next", packages.join(", "));
        }
    }
    bail!(
        "no kernel of series {} can be had from {}",
        series.name,
        series.suites.join(", ")
    )
}

/// Whether the downloaded package is the pinned one, where `release` is pinned. apt has checked
/// all of them against the signed index.
fn as_pinned(series: &Series, release: &str, debs: &Path) -> Result<bool> {
    let Some(pin) = series.pin.as_ref().filter(|pin| pin.release == release) else {
        return Ok(true);
    };
    for deb in fs::read_dir(debs)? {
        let sum = proc::output(Command::new("sha256sum").arg(deb?.path()))?;
        if sum.split_whitespace().next() != Some(pin.sha256) {
            eprintln!("  {release} is not the pinned build: {}", sum.trim());
            return Ok(false);
        }
    }
    Ok(true)
}

/// Releases of `series` among package names, newest first.
fn releases(names: &[String], series: &str) -> Vec<String> {
    let release = |name: &String| {
        let release = name
            .strip_prefix("linux-image-")
            .or(name.strip_prefix("linux-binary-"))?;
        let version = release.strip_suffix(FLAVOUR)?;
        // "6.1" is no prefix of a 6.18 version, and a meta package ends after the series.
        let rest = if series == NEWEST {
            version
        } else {
            version.strip_prefix(series)?
        };
        let wanted = if series == NEWEST {
            rest.contains('+')
        } else {
            rest.starts_with(['.', '-'])
        };
        wanted.then(|| release.to_owned())
    };
    let mut releases: Vec<String> = names.iter().filter_map(release).collect();
    releases.sort_by_key(|release| std::cmp::Reverse(numbers(release)));
    releases.dedup();
    releases
}

/// The runs of digits in a version, in order: enough to compare Debian's kernel versions.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|run| run.parse().ok())
        .collect()
}

/// Sets of packages that make up `release`, the signed one first. Up to 6.18 the image package
/// has everything; later ones are split.
fn package_sets(names: &[String], release: &str) -> Vec<Vec<String>> {
    let known = |name: String| names.contains(&name).then_some(name);
    let binary = known(format!("linux-binary-{release}"));
    let modules = known(format!("linux-modules-{release}"));
    if let (Some(binary), Some(modules)) = (binary, modules) {
        return vec![vec![binary, modules]];
    }
    let images = ["", "-unsigned"].map(|suffix| known(format!("linux-image-{release}{suffix}")));
    images
        .into_iter()
        .flatten()
        .map(|image| vec![image])
        .collect()
}

/// Unpacks the packages in `debs` and brings old and new layouts to one: everything under `usr/lib`,
/// `lib` a link to it, so that any kmod finds it.
fn unpack(dir: &Path, debs: &Path, release: &str) -> Result<()> {
    let root = dir.join("root");
    for deb in fs::read_dir(debs)? {
        let deb = deb?.path();
        proc::output(Command::new("dpkg").arg("-x").arg(&deb).arg(&root))?;
    }
    let (old, new) = (root.join("lib"), root.join("usr/lib"));
    if old.is_dir() {
        fs::create_dir_all(&new)?;
        fs::rename(old.join("modules"), new.join("modules"))?;
        fs::remove_dir_all(&old)?;
    }
    std::os::unix::fs::symlink("usr/lib", &old)?;
    // The packages carry no modules.dep.
    proc::output(
        workspace::command("depmod")
            .arg("-b")
            .arg(&root)
            .arg(release),
    )?;
    fs::remove_dir_all(debs)?;
    // Written last: without it the directory counts as empty.
    fs::write(dir.join("release"), release)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_series_is_no_prefix_of_another() {
        let names = names(&[
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.18.5+deb13-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-47-cloud-amd64-dbg",
            "linux-image-6.1.0-47-cloud-amd64",
            "linux-image-6.1.0-48-amd64",
        ]);
        assert_eq!(
            releases(&names, "6.1"),
            ["6.1.0-47-cloud-amd64", "6.1.0-9-cloud-amd64"]
        );
        assert_eq!(releases(&names, NEWEST), ["6.18.5+deb13-cloud-amd64"]);
    }

    #[test]
    fn split_packages_are_fetched_together() {
        let names = names(&[
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
            "linux-image-6.1.0-47-cloud-amd64",
            "linux-image-6.1.0-47-cloud-amd64-unsigned",
        ]);
        assert_eq!(package_sets(&names, "7.3.4+deb13-cloud-amd64")[0].len(), 2);
        let sets = package_sets(&names, "6.1.0-47-cloud-amd64");
        assert_eq!(sets[0], ["linux-image-6.1.0-47-cloud-amd64"]);
        assert_eq!(sets[1], ["linux-image-6.1.0-47-cloud-amd64-unsigned"]);
    }
}
