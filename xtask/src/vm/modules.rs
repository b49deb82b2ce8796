//! Kernel modules of the guest, with all they depend on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::{proc, workspace};

/// Without these nothing can be tested.
const REQUIRED: &[&str] = &["veth", "nf_conntrack", "nf_nat", "nf_tables"];

/// Taken where the kernel has them: names and options differ between kernels.
const OPTIONAL: &str = "\
    8021q af_packet act_bpf act_gact act_mirred bridge br_netfilter cls_bpf cls_u32 dummy \
    ifb inet_diag ip6_tables ip6t_REJECT ip6t_rpfilter ip6table_filter ip6table_mangle \
    ip6table_nat ip6table_raw ip_tables ip_vs ip_vs_rr ipip ipt_REJECT ipt_rpfilter \
    iptable_filter iptable_mangle iptable_nat iptable_raw nf_conntrack_netlink \
    nf_reject_ipv4 nf_reject_ipv6 nft_chain_nat nft_compat nft_counter nft_ct nft_dup_ipv4 \
    nft_fib nft_fib_inet nft_fib_ipv4 nft_fib_ipv6 nft_hash nft_limit nft_log nft_masq \
    nft_nat nft_numgen nft_objref nft_quota nft_redir nft_reject nft_reject_inet \
    nft_reject_ipv4 nft_reject_ipv6 sch_fq sch_fq_codel sch_ingress sch_netem sch_prio \
    sch_tbf tcp_diag tun vxlan xt_CT xt_LOG xt_MASQUERADE xt_REDIRECT xt_TCPMSS xt_addrtype \
    xt_comment xt_connmark xt_conntrack xt_ipvs xt_length xt_limit xt_mac xt_mark \
    xt_multiport xt_nat xt_nfacct xt_physdev xt_recent xt_set xt_state xt_statistic \
    xt_tcpmss xt_tcpudp";

/// Copies the modules, decompressed, to `root/usr/lib/modules/RELEASE` with their indexes, and
/// writes the names of those to load to `root/modules`.
pub(super) fn stage(kernel: &Kernel, root: &Path) -> Result<()> {
    let mut files = BTreeSet::new();
    let mut names = Vec::new();
    for name in REQUIRED.iter().copied().chain(OPTIONAL.split_whitespace()) {
        match dependencies(kernel, name)? {
            Some(paths) => {
                files.extend(paths);
                names.push(name);
            }
            None if REQUIRED.contains(&name) => bail!("{} has no module {name}", kernel.release),
            None => {}
        }
    }
    let source = kernel
        .modules_base()
        .join("usr/lib/modules")
        .join(&kernel.release);
    let target = root.join("usr/lib/modules").join(&kernel.release);
    for file in &files {
        let relative = file.strip_prefix(&source).with_context(|| {
            format!(
                "modprobe named {}, which is not under {}",
                file.display(),
                source.display()
            )
        })?;
        copy(file, &target.join(relative))?;
    }
    for index in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        if source.join(index).exists() {
            fs::copy(source.join(index), target.join(index))?;
        }
    }
    // depmod, too, looks under lib or under usr/lib, by its version.
    let link = root.join("lib");
    std::os::unix::fs::symlink("usr/lib", &link)?;
    proc::output(
        workspace::command("depmod")
            .arg("-b")
            .arg(root)
            .arg(&kernel.release),
    )?;
    fs::remove_file(link)?;
    fs::write(root.join("modules"), names.join("\n") + "\n")?;
    Ok(())
}

/// Files of `module` and of all it depends on; empty if it is built in, `None` if there is none.
fn dependencies(kernel: &Kernel, module: &str) -> Result<Option<Vec<PathBuf>>> {
    let base = kernel.modules_base();
    let mut modprobe = workspace::command("modprobe");
    modprobe.args([
        "--show-depends",
        "--set-version",
        &kernel.release,
        "--dirname",
    ]);
    // Configuration of this machine does not apply to the guest.
    modprobe.arg(&base).args(["--config", "/dev/null", module]);
    let output = modprobe
        .stdin(Stdio::null())
        .output()
        .context("cannot start modprobe")?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |line: &str| {
        let path = line.strip_prefix("insmod ")?.split_whitespace().next()?;
        // Either spelling of the directory that lib links to.
        let inside = Path::new(path).strip_prefix(&base).ok()?;
        let inside = inside.strip_prefix("usr").unwrap_or(inside);
        Some(base.join("usr").join(inside))
    };
    Ok(Some(text.lines().filter_map(path).collect()))
}

/// Copies a module, decompressed: not every kernel here reads compressed ones.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if from.extension().is_some_and(|extension| extension == "xz") {
        let to = to.with_extension("");
        let file = File::create(&to).with_context(|| format!("cannot write {}", to.display()))?;
        let mut xz = Command::new("xz");
        let status = xz
            .args(["--decompress", "--stdout"])
            .arg(from)
            .stdout(file)
            .status();
        if !status.context("cannot start xz")?.success() {
            bail!("cannot decompress {}", from.display());
        }
        return Ok(());
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
