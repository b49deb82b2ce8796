//! `tracer replay` from outside: what it reads, what it writes, how it ends.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../../tracer-replay/tests/corpus/write.rs"]
mod write;

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use write::{Form, START, call, mixed};

/// A file of one test, removed at its end.
struct Capture(PathBuf);

impl Capture {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("tracer-{}-{name}.pcap", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // A file left in the temporary directory does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn replay(capture: &Capture, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.arg("replay").args(args).arg(&capture.0).env_clear();
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn names_stand_wherever_ports_do() {
    let capture = Capture::new("names", &Form::PLAIN.capture(&mixed()));
    let file = capture.0.with_extension("yaml");
    let names = "ports: [{node_port: 30080, namespace: thrift, service: users, port_name: api}]";
    std::fs::write(&file, names).unwrap();
    let services = file.to_str().unwrap();
    let told = |args: &[&str]| {
        let args = [&["--services", services], args].concat();
        text(&replay(&capture, &args).stdout).to_owned()
    };
    let out = told(&[]);
    for part in [
        "\n! 30080  thrift/users:api  6 ",
        "Port 30080 thrift/users:api: the Service has no endpoints\n",
        "10.0.1.9:40004         10.0.3.17:30080      -          thrift/users:api      -                      timed_out",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let json: serde_json::Value = serde_json::from_str(&told(&["-o", "json"])).unwrap();
    for place in ["/ports/0", "/verdicts/0", "/failures/0"] {
        let named = json.pointer(&format!("{place}/service")).unwrap();
        assert_eq!(named, "thrift/users:api", "{place}");
    }
    let line = "tracer_node_port_info{node_port=\"30080\",namespace=\"thrift\",service=\"users\",port_name=\"api\"} 1\n";
    assert!(told(&["--openmetrics"]).contains(line));

    std::fs::write(&file, "ports: [{}]").unwrap();
    let output = replay(&capture, &["--services", services]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(text(&output.stderr).contains("line 1"), "{output:?}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_problem_ends_with_three_and_is_told_in_every_form() {
    let capture = Capture::new("problem", &Form::PLAIN.capture(&mixed()));
    let output = replay(&capture, &[]);
    assert_eq!(output.status.code(), Some(3));
    let out = text(&output.stdout);
    for part in [
        "24 packets in 1 file, 23 s from 2023-11-14T22:13:20.000Z\n",
        "node: 10.0.3.17 (7 SYNs), inferred from SYNs to watched ports\n",
        "4 of 6 attempts failed. 3 problems, the largest first:\n",
        "Port 30080: the Service has no endpoints\n",
        "\nFailures one by one:\nTIME",
        "10.0.1.9:40004         10.0.3.17:30080      -          -                     -                      timed_out",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }

    let output = replay(&capture, &["-o", "json", "--failures", "1"]);
    assert_eq!(output.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["node"].is_null());
    let time = json["time"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    assert_eq!(json["ports"][0]["outcomes"]["timed_out"], 1);
    assert_eq!(json["failures"].as_array().unwrap().len(), 1);
    assert_eq!(json["failures_left_out"], 3);
    assert_eq!(json["nodes"][0]["address"], "10.0.3.17");

    let output = replay(&capture, &["--openmetrics"]);
    assert_eq!(output.status.code(), Some(3));
    let out = text(&output.stdout);
    let line =
        "tracer_handshakes_total{node_port=\"30080\",outcome=\"refused\",traffic=\"unknown\"} 2\n";
    assert!(out.contains(line) && out.ends_with("# EOF\n"), "{out}");
}

#[test]
fn standard_input_is_a_capture_too() {
    let capture = Capture::new("healthy", &Form::PLAIN.capture(&call(START, 40_000)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.args(["replay", "-"]).env_clear();
    command.stdin(Stdio::from(File::open(&capture.0).unwrap()));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    let healthy = "Healthy: 0 of 1 attempt failed (1 port).\n";
    assert!(out.contains(healthy), "{out}");
}

#[test]
fn what_cannot_be_read_ends_with_one() {
    let capture = Capture::new("none", b"no capture at all");
    let output = replay(&capture, &[]);
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(err.contains("it is neither pcap nor pcapng"), "{err}");
    let output = replay(&Capture(PathBuf::from("/nonexistent.pcap")), &[]);
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(
        err.contains("read /nonexistent.pcap: No such file"),
        "{err}"
    );
}

/// Nobody can say from packets that were not read that nobody tried.
#[test]
fn where_nothing_was_analysed_it_ends_with_one_and_the_reason() {
    let mut elsewhere = write::syn(START, 40_000);
    elsewhere.bytes[22..24].copy_from_slice(&9_090_u16.to_be_bytes());
    let behind_nat = Form::PLAIN.capture(&[elsewhere]);
    let unknown = Form {
        link_type: 105,
        ..Form::PLAIN
    };
    let mut broken = Form::PLAIN.header();
    broken.extend([0xff; 16]);
    for (bytes, why) in [
        (Form::PLAIN.header(), "no packet is in it"),
        (
            unknown.capture(&mixed()),
            "24 of 24 packets are of link type 105",
        ),
        (
            behind_nat,
            "it goes to 10.0.3.17:9090 (1 SYN): these are other ports",
        ),
        (broken, "no packet can be read, it is broken at byte 24"),
    ] {
        let capture = Capture::new("nothing", &bytes);
        for args in [&[][..], &["-o", "json"], &["--openmetrics"]] {
            let output = replay(&capture, args);
            assert_eq!(output.status.code(), Some(1), "{why}");
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert!(err.contains(why), "{err}");
            assert!(
                !out.contains("Nobody") && !out.contains("security"),
                "{out}"
            );
        }
    }
}

#[test]
fn wrong_usage_ends_with_two() {
    let capture = Capture::new("usage", b"");
    for args in [
        &["--node-address", "nowhere"][..],
        &["--openmetrics", "-o", "json"],
    ] {
        assert_eq!(replay(&capture, args).status.code(), Some(2), "{args:?}");
    }
}
