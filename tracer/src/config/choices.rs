//! Settings with a closed set of values.

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

/// Declares a closed choice with the same names for flags, files and output.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let value = self.to_possible_value();
                f.write_str(value.as_ref().map_or("", |value| value.get_name()))
            }
        }
    };
}

choice! {
    /// Whether names come from the Kubernetes API.
    Kubernetes {
        /// In a pod with a service account, or with a kubeconfig
        #[default]
        Auto,
        /// Always: without a way to the API nothing starts
        On,
        /// Never
        Off,
    }
}

choice! {
    /// When a port is known not to get health checks.
    HealthCheckGate {
        /// By the file of names, and behind an AWS classic ELB, which checks one port
        #[default]
        Auto,
        /// The same, and behind any load balancer that is not known to check each port
        FirstPort,
        /// Never
        Off,
    }
}

choice! {
    /// The hook that sees packets.
    WireTap {
        /// The best that this kernel has
        #[default]
        Auto,
        /// A tcx link (Linux 6.6 or newer)
        Tcx,
        /// A packet socket's filter
        Packet,
    }
}

choice! {
    /// The hook that sees dials made on this node.
    ConnectHook {
        /// The best that this kernel has
        #[default]
        Auto,
        /// Function entry and exit (needs kernel BTF)
        Fentry,
        /// Kprobe and kretprobe
        Kprobe,
        /// Socket state changes alone: immediate failures are not seen
        SetState,
    }
}

choice! {
    /// How the programs at tracepoints are attached.
    TracepointHook {
        /// The best that this kernel has
        #[default]
        Auto,
        /// With the kernel's types (needs kernel BTF)
        TpBtf,
        /// As raw tracepoints
        RawTp,
    }
}

choice! {
    /// Log level of the kernel programs.
    KernelLog {
        /// Nothing
        #[default]
        Off,
        /// What must not happen
        Error,
        /// What is lost
        Warn,
        /// Rare events
        Info,
        /// Every decision
        Debug,
        /// Every packet
        Trace,
    }
}

choice! {
    /// Log level of the daemon.
    LogLevel {
        /// Failures that end the run
        Error,
        /// Failures that do not
        Warn,
        /// Start, hooks, stop
        #[default]
        Info,
        /// Details
        Debug,
        /// More details
        Trace,
    }
}

choice! {
    /// Form of log lines.
    LogFormat {
        /// key=value pairs
        #[default]
        Logfmt,
        /// One JSON object per line
        Json,
    }
}

impl KernelLog {
    /// The level as aya-log numbers them: 0 nothing, 1 error, 5 trace.
    #[must_use]
    pub const fn level(self) -> u8 {
        self as u8
    }
}
