//! Debian packages by purpose. Debian and Ubuntu use the same names.

use crate::setup::Package;

/// For the namespace tests on the running kernel.
pub(crate) const NAMESPACE_TESTS: &[Package] = &[
    Package {
        name: "iproute2",
        why: "makes the namespaces and links of the test bed",
        probe: "ip",
    },
    Package {
        name: "iptables",
        why: "kube-proxy's iptables rules",
        probe: "iptables-restore",
    },
    Package {
        name: "nftables",
        why: "kube-proxy's nftables rules",
        probe: "nft",
    },
    Package {
        name: "conntrack",
        why: "reads NAT tuples to compare with",
        probe: "conntrack",
    },
    Package {
        name: "tcpdump",
        why: "captures the test traffic",
        probe: "tcpdump",
    },
    Package {
        name: "tshark",
        why: "an independent reading of the test traffic",
        probe: "tshark",
    },
    Package {
        name: "haproxy",
        why: "real health checks",
        probe: "haproxy",
    },
    Package {
        name: "tmux",
        why: "a terminal to use tracer top in",
        probe: "tmux",
    },
    Package {
        name: "prometheus",
        why: "scrapes the metrics and checks the rules",
        probe: "prometheus",
    },
    Package {
        name: "curl",
        why: "asks for the metrics by TLS and password",
        probe: "curl",
    },
    Package {
        name: "openssl",
        why: "makes keys, and judges the versions of TLS",
        probe: "openssl",
    },
];

/// For the checks of what `deploy/` holds.
pub(crate) const DEPLOYMENT: &[Package] = &[
    Package {
        name: "nodejs",
        why: "runs the compiler that checks the dashboards",
        probe: "node",
    },
    Package {
        name: "npm",
        why: "brings Grafana's schema",
        probe: "npm",
    },
    Package {
        name: "systemd",
        why: "judges and runs the unit of the Debian package",
        probe: "systemd-analyze",
    },
    Package {
        name: "systemd-container",
        why: "tries the Debian package in a container",
        probe: "systemd-nspawn",
    },
    Package {
        name: "man-db",
        why: "sets the manual pages of the Debian package",
        probe: "man",
    },
    Package {
        name: "podman",
        why: "builds the container image and runs it with the chart's rights",
        probe: "podman",
    },
    Package {
        name: "runc",
        why: "runs containers for podman",
        probe: "runc",
    },
];

/// For the static binary.
pub(crate) const STATIC_BINARY: &[Package] = &[Package {
    name: "musl-tools",
    why: "compiles the C parts of the static binary (TLS)",
    probe: "musl-gcc",
}];

/// For real Kubernetes programs: to build them, and to run them.
pub(crate) const KUBERNETES: &[Package] = &[Package {
    name: "dpkg-dev",
    why: "unpacks the source package of Kubernetes",
    probe: "dpkg-source",
}];

/// For the fuzz targets.
pub(crate) const FUZZING: &[Package] = &[Package {
    name: "g++",
    why: "compiles libFuzzer",
    probe: "c++",
}];

/// For other kernels in virtual machines.
pub(crate) const VIRTUAL_MACHINES: &[Package] = &[
    Package {
        name: "qemu-system-x86",
        why: "boots other kernels",
        probe: "qemu-system-x86_64",
    },
    Package {
        name: "busybox-static",
        why: "the guest's small tools",
        probe: "busybox",
    },
    Package {
        name: "dash",
        why: "the guest's shell",
        probe: "dash",
    },
    Package {
        name: "kmod",
        why: "finds the guest's kernel modules",
        probe: "depmod",
    },
    Package {
        name: "cpio",
        why: "packs the guest's initramfs",
        probe: "cpio",
    },
    Package {
        name: "ipvsadm",
        why: "kube-proxy's ipvs mode, in a guest",
        probe: "ipvsadm",
    },
    Package {
        name: "xz-utils",
        why: "unpacks the guest's kernel modules",
        probe: "xz",
    },
    Package {
        name: "debian-archive-keyring",
        why: "checks the kernels' signatures",
        probe: "/usr/share/keyrings/debian-archive-keyring.gpg",
    },
];
