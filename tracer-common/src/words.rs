//! The closed sets of words that are metric labels: every enum here is an axis
//! of the per-port counters, so its order is ABI between kernel and daemon.

/// Declares a `repr(u8)` enum whose variants are numbered from 0 and named by
/// the label value they have in metrics.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All values, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label value in metrics and in output for people.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The value as an index into counters.
            #[must_use]
            #[inline(always)]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use words;

words! {
    /// How an attempt's handshake ended; exactly one each.
    Outcome {
        /// SYN, SYN-ACK, final ACK (or data in its place).
        Established = "established",
        /// SYN, SYN-ACK, then RST from the client in place of the ACK.
        HalfOpen = "half_open",
        /// RST in answer to the SYN.
        Refused = "refused",
        /// ICMP or ICMPv6 destination unreachable in answer to the SYN.
        Unreachable = "unreachable",
        /// No answer to the SYN within the handshake timeout.
        TimedOut = "timed_out",
        /// SYN-ACK sent, nothing came back within the handshake timeout, or before the
        /// server's side took it back with a RST.
        Unacked = "unacked",
        /// The client gave up (RST or FIN) before any answer.
        Cancelled = "cancelled",
    }
}

words! {
    /// What a connection or attempt was for.
    Traffic {
        /// The client's first bytes are a Thrift message.
        Thrift = "thrift",
        /// The client sent bytes that are not Thrift.
        Other = "other",
        /// A probe: no payload and short, half-open, or configured as one.
        HealthCheck = "health_check",
        /// No payload and open past the idle threshold.
        Idle = "idle",
        /// Cannot be told apart (yet).
        Unknown = "unknown",
    }
}

words! {
    /// First answer of the node to a SYN.
    Answer {
        /// SYN-ACK.
        SynAck = "syn_ack",
        /// RST.
        Rst = "rst",
        /// ICMP or ICMPv6 destination unreachable.
        Icmp = "icmp",
    }
}

words! {
    /// Who ended a connection, and how.
    Close {
        /// The client's FIN came first.
        ClientFin = "client_fin",
        /// RST from the client.
        ClientRst = "client_rst",
        /// The server's FIN came first.
        ServerFin = "server_fin",
        /// RST from the server's side.
        ServerRst = "server_rst",
        /// Nobody: no packet for so long that the flow was given up.
        TimeoutIdle = "timeout_idle",
    }
}

impl Close {
    /// The labels `by` and `how` of `tracer_connection_closes_total`.
    #[must_use]
    pub const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::ClientFin => ("client", "fin"),
            Self::ClientRst => ("client", "rst"),
            Self::ServerFin => ("server", "fin"),
            Self::ServerRst => ("server", "rst"),
            Self::TimeoutIdle => ("timeout", "idle"),
        }
    }
}

words! {
    /// What was sent again.
    Retransmit {
        /// A SYN.
        Syn = "syn",
        /// A SYN-ACK.
        SynAck = "syn_ack",
        /// Payload, either direction.
        Data = "data",
    }
}

words! {
    /// Who made a RST.
    ResetOrigin {
        /// The client.
        Client = "client",
        /// Something behind the node's forwarding: the pod.
        Backend = "backend",
        /// The node itself: its TCP stack, or a netfilter rule.
        Node = "node",
        /// A RST received by a dial made on this node; who made it cannot be
        /// told from the socket alone.
        Unknown = "unknown",
    }
}

words! {
    /// How a dial made on this node ended, by class of `errno` (errno(3)).
    LocalOutcome {
        /// The socket reached ESTABLISHED.
        Established = "established",
        /// ECONNREFUSED.
        Refused = "refused",
        /// EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN.
        Unreachable = "unreachable",
        /// ETIMEDOUT.
        TimedOut = "timed_out",
        /// The socket was closed while still in SYN_SENT.
        Cancelled = "cancelled",
        /// EADDRNOTAVAIL, EADDRINUSE: no source address or port is free.
        NoSource = "no_source",
        /// EPERM, EACCES: a local rule forbids the dial.
        Denied = "denied",
        /// Any other errno.
        Error = "error",
    }
}

words! {
    /// Why a packet was not taken into account.
    Lost {
        /// Another CPU held the flow's lock for too long: segment skipped.
        Contention = "contention",
        /// IP fragments are not reassembled: skipped.
        Fragment = "fragment",
        /// TCP header cut short or inconsistent.
        Malformed = "malformed",
        /// Dial made on this node not followed: too many in connect(2), or crossed, at once.
        Dials = "dials",
        /// Failure of a new kind not counted by kind: table of kinds full.
        Failures = "failures",
        /// Failure without a record of its own: ring of records full.
        Records = "records",
        /// Backend of an attempt not noted: table of backends full.
        Backends = "backends",
        /// Established connection not told apart by client and address: table of them full.
        Served = "served",
        /// Latency of an answer not in a fine cell: table of them full.
        Latencies = "latencies",
    }
}
