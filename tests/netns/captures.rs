//! `tracer replay` on public captures, against tshark's own judgement of the
//! same packets. Every difference is in the table, with its reason.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Metrics, Tracer, capture::tshark_fields};

#[path = "captures/table.rs"]
mod table;

use table::{CAPTURES, Entry};

/// All ports: which side is the node's, SYNs alone tell.
const ARGS: [&str; 2] = ["--node-ports", "1-65535"];

/// What is compared.
const WORDS: [&str; 8] = [
    "attempts",
    "syn_ack",
    "rst",
    "icmp",
    "resets",
    "again syn",
    "again syn_ack",
    "again data",
];

type Counts = BTreeMap<&'static str, u64>;

/// A tshark stream that begins with a SYN.
#[derive(Default)]
struct Stream {
    answered: bool,
    reset: bool,
    fins: HashSet<String>,
}

impl Stream {
    /// tracer ends a connection with its first RST or its second FIN.
    fn has_ended(&self) -> bool {
        self.reset || self.fins.len() == 2
    }
}

const FIELDS: [&str; 6] = [
    "tcp.stream",
    "tcp.flags",
    "tcp.srcport",
    "tcp.len",
    "tcp.analysis.retransmission",
    "tcp.analysis.out_of_order",
];

/// Loopback is no edge; tshark calls what comes below the highest sequence
/// number either a retransmission or out of order, by its time.
fn judged_by_tshark(file: &Path) -> Result<Counts> {
    let mut counts = Counts::new();
    let mut streams: HashMap<String, Stream> = HashMap::new();
    let filter = "tcp && !icmp && !icmpv6 && !(sll.hatype == 772)";
    for row in tshark_fields(file, filter, &FIELDS)? {
        let [stream, flags, port, len, again, disordered] = &row[..] else {
            anyhow::bail!("{row:?}");
        };
        let flags = u16::from_str_radix(flags.trim_start_matches("0x"), 16)?;
        let (fin, syn, rst, ack) = (flags & 1 > 0, flags & 2 > 0, flags & 4 > 0, flags & 16 > 0);
        let again = !again.is_empty();
        if syn && !ack && !rst {
            streams.entry(stream.clone()).or_default();
            let word = if again { "again syn" } else { "attempts" };
            *counts.entry(word).or_default() += 1;
            continue;
        }
        let Some(stream) = streams.get_mut(stream).filter(|s| !s.has_ended()) else {
            continue;
        };
        let word = match (syn, rst) {
            (true, _) if again => Some("again syn_ack"),
            (true, _) => Some("syn_ack"),
            (_, true) => Some("resets"),
            _ if len != "0" && (again || !disordered.is_empty()) => Some("again data"),
            _ => None,
        };
        if rst && !stream.answered {
            *counts.entry("rst").or_default() += 1;
        }
        stream.answered |= syn;
        stream.reset |= rst;
        if fin {
            stream.fins.insert(port.clone());
        }
        if let Some(word) = word {
            *counts.entry(word).or_default() += 1;
        }
    }
    let quoted = "(icmp.type == 3 || icmpv6.type == 1) && tcp && !(sll.hatype == 772)";
    let errors = tshark_fields(file, quoted, &["frame.number"])?.len() as u64;
    counts.insert("icmp", errors);
    counts.retain(|_, count| *count > 0);
    Ok(counts)
}

fn counted_by_tracer(metrics: &Metrics) -> Counts {
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels) as u64;
    let answers = |answer| {
        sum(
            "tracer_handshake_answer_seconds_count",
            &[("answer", answer)],
        )
    };
    let again = |kind| sum("tracer_retransmits_total", &[("kind", kind)]);
    let values = [
        sum("tracer_attempts_total", &[]),
        answers("syn_ack"),
        answers("rst"),
        answers("icmp"),
        sum("tracer_resets_total", &[]),
        again("syn"),
        again("syn_ack"),
        again("data"),
    ];
    let counts = WORDS.into_iter().zip(values);
    counts.filter(|(_, count)| *count > 0).collect()
}

/// The capture, which has to be the very one that the table speaks of.
fn file(entry: &Entry) -> Result<PathBuf> {
    let root = std::env::var_os("TRACER_CAPTURES");
    let root = root.context("set TRACER_CAPTURES (cargo xtask test does)")?;
    let path = PathBuf::from(root).join(entry.path);
    let output = Command::new("sha256sum").arg(&path).output()?;
    let sum = String::from_utf8_lossy(&output.stdout);
    ensure!(sum.starts_with(entry.sha256), "{}: {sum:?}", path.display());
    Ok(path)
}

fn nonzero<'a>(values: impl IntoIterator<Item = &'a u64>) -> Counts {
    let all = WORDS.into_iter().zip(values.into_iter().copied());
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn tshark_agrees_or_the_table_says_why_not() -> Result<()> {
    let mut wrong = Vec::new();
    for entry in CAPTURES {
        let path = file(entry)?;
        let tshark = judged_by_tshark(&path)?;
        let tracer = counted_by_tracer(&Tracer::replay(&path, &ARGS)?);
        let expected = nonzero(&entry.tshark);
        if tshark != expected {
            wrong.push(format!(
                "{}: tshark {tshark:?}, table {expected:?}",
                entry.path
            ));
        }
        let mut ours = expected;
        for (word, count, why) in entry.differences {
            ensure!(
                WORDS.contains(word) && !why.is_empty(),
                "{}: {word}",
                entry.path
            );
            ours.insert(word, *count);
        }
        ours.retain(|_, count| *count > 0);
        if tracer != ours {
            wrong.push(format!("{}: tracer {tracer:?}, table {ours:?}", entry.path));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// editcap writes the same packets in other containers.
#[test]
fn containers_that_editcap_writes_give_the_same() -> Result<()> {
    let entry = &CAPTURES[0];
    let original = file(entry)?;
    let expected = counted_by_tracer(&Tracer::replay(&original, &ARGS)?);
    let dir = testbed::cleanup::ScratchDir::new()?;
    for (name, args) in [
        ("pcapng", &["-F", "pcapng"][..]),
        ("nanoseconds", &["-F", "nsecpcap"]),
        ("raw", &["-F", "pcap", "-C", "14", "-L", "-T", "rawip"]),
        (
            "raw pcapng",
            &["-F", "pcapng", "-C", "14", "-L", "-T", "rawip"],
        ),
        ("cut after the headers", &["-F", "pcap", "-s", "90"]),
    ] {
        let path = dir.path().join("converted");
        let output = Command::new("editcap")
            .args(args)
            .arg(&original)
            .arg(&path)
            .output();
        let output = output.context("is editcap (wireshark-common) installed?")?;
        ensure!(output.status.success(), "editcap {name}: {output:?}");
        let counts = counted_by_tracer(&Tracer::replay(&path, &ARGS)?);
        ensure!(counts == expected, "{name}: {counts:?}, not {expected:?}");
    }
    Ok(())
}
