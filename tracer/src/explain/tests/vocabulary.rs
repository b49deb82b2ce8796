//! One word for one thing: label values of the metrics stand as they are in explain, top
//! and events, and in docs/words.md, which `UPDATE_SNAPSHOTS=1` writes anew.

use std::fmt::Write as _;

use tracer_common::{
    failure::{Failure, Reply},
    words::{LocalOutcome, Outcome, ResetOrigin, Retransmit, Traffic},
};

use super::*;
use crate::{
    events,
    report::{Event, PortRow},
};

/// A row with a count of its own for each word of a set.
fn counted(words: &[&str]) -> std::collections::BTreeMap<String, u64> {
    let words = (11..).zip(words);
    words
        .map(|(count, word)| ((*word).to_owned(), count))
        .collect()
}

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|of| word(*of)).collect()
}

#[test]
fn words_of_metrics_stand_on_each_surface() {
    let outcomes = words(Outcome::ALL, Outcome::as_str);
    let classes = words(Traffic::ALL, Traffic::as_str);
    let replies = words(Reply::ALL, Reply::as_str);
    let row = PortRow {
        outcomes: counted(&outcomes),
        traffic: counted(&classes),
        answered_by: counted(&replies),
        attempts: 1_000,
        ..refused(30_102)
    };
    let text = plain(&explanation(vec![row], Vec::new()), &frame(None));
    // The established stand in a column of their own name.
    let told = outcomes.iter().skip(1).chain(&classes).chain(&replies);
    for word in told {
        assert!(text.contains(&format!(" {word}")), "{word}: {text}");
    }
    let event = |failure: &Failure, reply: &Reply| Event {
        time: 0.0,
        client: "10.0.1.9:40112".parse().unwrap(),
        address: "10.0.0.1".parse().unwrap(),
        interface: None,
        node_port: 30_102,
        service: None,
        backend: None,
        pod: None,
        outcome: failure.as_str().to_owned(),
        traffic: Traffic::Unknown.as_str().to_owned(),
        answered_by: reply.as_str().to_owned(),
        verdict: Verdict::NothingListens,
        evidence: String::new(),
        latency: 0.0,
    };
    for failure in Failure::ALL {
        for reply in Reply::ALL {
            let line =
                anstream::adapter::strip_str(&events::text(&event(failure, reply))).to_string();
            let words: Vec<&str> = line.split_whitespace().collect();
            let has = |word: &str| words.contains(&word);
            assert!(has(failure.as_str()) && has(reply.as_str()), "{line}");
        }
    }
}

const OUTCOMES: [&str; Outcome::COUNT] = [
    "SYN, SYN-ACK, and the client's ACK or data",
    "SYN, SYN-ACK, then a RST of the client: the node answered (a check like HAProxy's); no failure",
    "a RST in answer to the SYN",
    "an ICMP or ICMPv6 destination unreachable in answer to the SYN",
    "no answer to the SYN within the handshake timeout",
    "a SYN-ACK was sent, and nothing came back within the handshake timeout",
    "the client gave up (RST or FIN) before any answer",
];
const CLASSES: [&str; Traffic::COUNT] = [
    "the client's first bytes are a Thrift message",
    "the client's first bytes are something else",
    "no bytes of the client and soon closed, half open, or configured as a probe",
    "no bytes of the client, and open past the idle threshold",
    "not to be told apart, as with most failed attempts",
];
const REPLIES: [&str; Reply::COUNT] = [
    "nothing",
    "a RST that the node made: its TCP stack or a rule",
    "a RST from behind the node: the pod",
    "an ICMP destination unreachable",
    "an ICMPv6 destination unreachable",
];
const ORIGINS: [&str; ResetOrigin::COUNT] = [
    "the client",
    "behind the node: the pod",
    "the node: its TCP stack or a rule",
    "a RST that a dial made on this node met: its socket does not know",
];

fn section(to: &mut String, title: &str, about: &str, rows: &[(&str, &str)]) {
    let _ = writeln!(
        to,
        "\n## {title}\n\n{about}\n\n| word | meaning |\n|---|---|"
    );
    for (word, meaning) in rows {
        let _ = writeln!(to, "| `{word}` | {meaning} |");
    }
}

fn list(words: &[&str]) -> String {
    Vec::from_iter(words.iter().map(|word| format!("`{word}`"))).join(", ")
}

fn page() -> String {
    let mut page = "# Words\n\nEach thing has one word: the label value of the metrics, which `explain`, `top`, \
                    `events` and their JSON\nuse as well. A test holds this page to the program's own sets.\n"
        .to_owned();
    let outcomes = words(Outcome::ALL, Outcome::as_str);
    let rows = |words: &[&'static str], meanings: &[&'static str]| {
        Vec::from_iter(words.iter().copied().zip(meanings.iter().copied()))
    };
    let about = "How an attempt's handshake ended: label `outcome`; in `explain` the columns OK and FAILED.";
    section(&mut page, "Outcomes", about, &rows(&outcomes, &OUTCOMES));
    let about = "What a connection or attempt was for: label `traffic`; column TRAFFIC.";
    let classes = words(Traffic::ALL, Traffic::as_str);
    section(&mut page, "Traffic", about, &rows(&classes, &CLASSES));
    let about = "What the client of a failed attempt got: `answered_by` in JSON, FAILED BY in `explain`, ANSWERED \
                 BY in\n`events`. In `explain`, `unknown` is what has not been reported yet.";
    let replies = words(Reply::ALL, Reply::as_str);
    section(&mut page, "Who answered", about, &rows(&replies, &REPLIES));
    let about =
        "Who made a RST segment, of whatever connection: label `origin` of `tracer_resets_total`.";
    let origins = words(ResetOrigin::ALL, ResetOrigin::as_str);
    section(&mut page, "Resets", about, &rows(&origins, &ORIGINS));
    let retransmits = list(&words(Retransmit::ALL, Retransmit::as_str));
    let locals = list(&words(LocalOutcome::ALL, LocalOutcome::as_str));
    let verdicts = list(&words(Verdict::ALL, Verdict::as_str));
    let _ = write!(
        page,
        "\n## Other sets\n\n- Retransmissions (`kind`): {retransmits}.\n- Dials made on this node (`outcome` of \
         `tracer_local_connects_total`): {locals}.\n- Verdicts (`verdict`): {verdicts}.\n\n## Signs and \
         numbers\n\n- `!` marks a port with a problem that has a name, `?` failures without one.\n- `-` stands for \
         what is not known or does not apply, `.` in `top` for 0.\n- Rates are per second.\n- A window's attempts are those under way in it; `TRY/S` counts those that began in it.\n"
    );
    page
}

#[test]
fn the_page_of_words_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/words.md");
    let page = page();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page);
}
