//! The captures, tshark's counts, and what tracer counts otherwise and why.

/// One capture.
pub struct Entry {
    /// Package with version, and the file in it.
    pub path: &'static str,
    pub sha256: &'static str,
    /// In the order of `WORDS`: attempts, SYN-ACKs, refusals, ICMP errors, resets,
    /// retransmitted SYNs, SYN-ACKs and data.
    pub tshark: [u64; 8],
    /// What tracer counts otherwise: the count, and why.
    pub differences: &'static [(&'static str, u64, &'static str)],
}

const DIALLED: &str = "The host that captured sent these SYNs: it is the client, not the node.";

pub const CAPTURES: &[Entry] = &[
    // Ethernet.
    Entry {
        path: "pktstrings-1.4.1/benches/data/SkypeIRC.cap",
        sha256: "bac79a9c3413637f871193589d848697af895b7f2700d949022224d59aa6830f",
        tshark: [88, 53, 19, 1, 56, 34, 0, 4],
        differences: &[],
    },
    // Ethernet.
    Entry {
        path: "net-parser-rs-0.3.0/resources/4SICS-GeekLounge-151020.pcap",
        sha256: "8c6ee02dc26b1b5298a7c9b4dc83cc779bd2a3219d5c5cbc51e3d4d325763bc2",
        tshark: [7193, 7193, 0, 0, 7130, 0, 0, 0],
        differences: &[],
    },
    // Ethernet.
    Entry {
        path: "pdu-1.5.1/tests/pcaps/TCP_SACK.pcap",
        sha256: "aa839ff64d34a51748ffc5a4cf7ed51c1feee5cfb08ad377de1c20f309915d15",
        tshark: [1, 1, 0, 0, 0, 0, 0, 1],
        differences: &[],
    },
    // PPPoE beside Ethernet.
    Entry {
        path: "pdu-1.5.1/tests/pcaps/nb6-startup.pcap",
        sha256: "26d0db62efbe96bfd884168ab2520aba9808693f27206f476c9b7f2ac996cd96",
        tshark: [8, 8, 0, 0, 5, 0, 0, 0],
        differences: &[],
    },
    // GRE.
    Entry {
        path: "pdu-1.5.1/tests/pcaps/gre-sample.pcap",
        sha256: "7954870d76d20e7bc4df98e5334e5c7b91a135007b7a5e4d2756226ecc8a85c4",
        tshark: [1, 1, 0, 0, 0, 0, 0, 0],
        differences: &[],
    },
    // Ethernet.
    Entry {
        path: "protolens-0.2.3/tests/pcap/ftp_pasv.pcap",
        sha256: "f14776ad16ad1855217116cf666ca014699ada603b5f5ab892e12cadaa0061dd",
        tshark: [2, 2, 0, 0, 1, 0, 0, 0],
        differences: &[],
    },
    // Ethernet.
    Entry {
        path: "protolens-0.2.3/tests/pcap/pop3.pcap",
        sha256: "9606d1981e667895c493b31df5f43d29fef6753e9b7d99151dbc2bb120cf5e2b",
        tshark: [1, 1, 0, 0, 0, 0, 0, 12],
        differences: &[],
    },
    // loopback (null), IPv6.
    Entry {
        path: "protolens-0.2.3/tests/pcap/tlsv1_2.pcap",
        sha256: "caccd55483ba36b5f0510373e363018ed7b35c83bc0cbade4484590f5ed4a5b2",
        tshark: [1, 1, 0, 0, 0, 0, 0, 0],
        differences: &[],
    },
    // Ethernet.
    Entry {
        path: "rtshark-4.3.0/assets/test_tls.pcap",
        sha256: "cfbbab598c41ac9383602ae42336c179cd2b5373de949d2362f85d174c03da42",
        tshark: [1, 1, 0, 0, 0, 0, 0, 0],
        differences: &[],
    },
    // Ethernet, pcapng.
    Entry {
        path: "pcap-parser-0.17.0/assets/err-buffertoosmall.pcapng",
        sha256: "b48abc79e08aea87aec3a5d2a569662e04f990f804e477a8ac2cba9166b484bc",
        tshark: [1, 1, 0, 0, 0, 0, 0, 0],
        differences: &[],
    },
    // Linux cooked.
    Entry {
        path: "mptcpanalyzer-0.3.2/examples/server_2.pcap",
        sha256: "c5059e3ca3f94061becb9dabdf09b8990ca3f14b02582c5ba0f879b09d21cb61",
        tshark: [15, 15, 0, 0, 7, 0, 3, 54],
        differences: &[(
            "resets",
            6,
            "tcp.stream 13: the final ACK came 5.8 s after the SYN-ACK. With a handshake timeout of \
             5 s that attempt is unacked, and its RST belongs to no connection.",
        )],
    },
    // Linux cooked, pcapng.
    Entry {
        path: "mptcpanalyzer-0.3.2/examples/server_2_filtered.pcapng",
        sha256: "2bdc43bb1f09cbbf61718bb6d6363f8241444e2f6cf2bdf6d5524804b7ae59c9",
        tshark: [7, 7, 0, 0, 4, 1, 2, 53],
        differences: &[(
            "again data",
            48,
            "Frames 117, 119, 140, 142 and 189 fill a hole at the start of what their client sent: \
             late, but seen for the first time.",
        )],
    },
    // Linux cooked, pcapng.
    Entry {
        path: "mptcpanalyzer-0.3.2/examples/server_2_redundant.pcapng",
        sha256: "f5ded798b097cc5813c399ad74869a2b417ba99ad18f675b55a13a9a89386738",
        tshark: [8, 8, 0, 0, 0, 0, 0, 0],
        differences: &[],
    },
    // Linux cooked.
    Entry {
        path: "mptcpanalyzer-0.3.2/examples/client_2.pcap",
        sha256: "ec76c0ea7f8b463a1ef09e74321e0562cdb2520f68a833a6912f26ddccac30a5",
        tshark: [16, 14, 1, 0, 9, 2, 2, 56],
        differences: &[
            ("attempts", 0, DIALLED),
            ("syn_ack", 0, DIALLED),
            ("rst", 0, DIALLED),
            ("resets", 0, DIALLED),
            ("again syn", 0, DIALLED),
            ("again syn_ack", 0, DIALLED),
            ("again data", 0, DIALLED),
        ],
    },
];
