//! What people read, held against pages in `testdata/`. After a change that is
//! meant, `UPDATE_SNAPSHOTS=1 cargo test -p tracer explain` writes them anew.

mod bed;
mod vocabulary;

use std::path::Path;

use self::bed::{explanation, finding, healthy, named, port, refused, sick};
use super::*;
use crate::{
    report::{PortRow, Sight},
    verdict::Verdict,
};

fn frame(width: Option<usize>) -> Frame {
    Frame {
        node: "ip-10-0-3-17".to_owned(),
        kernel: "Linux 6.18.5".to_owned(),
        asked_s: 60.0,
        ports: Vec::new(),
        width,
        all: false,
    }
}

fn plain(explanation: &Explanation, frame: &Frame) -> String {
    anstream::adapter::strip_str(&text::render(explanation, frame)).to_string()
}

/// Compares with a page.
fn assert_page(name: &str, explanation: &Explanation, frame: &Frame) {
    let text = plain(explanation, frame);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/testdata");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name}:\n{text}\nexpected:\n{expected}");
    if let Some(width) = frame.width {
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest.unwrap_or(0) <= width, "{name} is too wide:\n{text}");
    }
    let safe = |c: char| c == '\n' || !c.is_control();
    assert!(text.chars().all(safe), "{name}:\n{text}");
}

#[test]
fn healthy_ports_say_so_in_one_line() {
    let healthy = explanation(vec![healthy(30_101), healthy(30_102)], Vec::new());
    assert_page("healthy", &healthy, &frame(Some(80)));
    assert_eq!(ended(&healthy), Ended::Healthy);
}

#[test]
fn the_node_is_called_as_it_was_told() {
    assert_eq!(called(Some(&"rk-node".to_owned())), "rk-node");
    let host = super::named(UtsName::nodename);
    assert!(!host.is_empty());
    assert_eq!(called(None), host);
}

#[test]
fn an_empty_window_says_where_to_look() {
    let mut nothing = explanation(Vec::new(), Vec::new());
    nothing.window_s = 12.0;
    assert_page("empty", &nothing, &frame(Some(80)));
    let mut frame = frame(None);
    frame.ports = vec![30_102, 30_103];
    assert_page("empty_of_some_ports", &nothing, &frame);
    assert_eq!(ended(&nothing), Ended::Healthy);
}

#[test]
fn what_the_tap_cannot_see_is_not_said_to_be_absent() {
    let mut blind = explanation(Vec::new(), Vec::new());
    blind.sight = Sight {
        complete: false,
        obstacles: vec![
            "An XDP program (id 7) on eth0 takes packets before the tap does.".to_owned(),
        ],
        not_counted: vec![
            "4 SYNs to 10.66.200.1:443, which is not an address of this node: not counted."
                .to_owned(),
        ],
    };
    assert_page("blind", &blind, &frame(Some(80)));
    assert_eq!(ended(&blind), Ended::Unseen);
    blind.ports.push(healthy(30_101));
    let text = plain(&blind, &frame(None));
    assert!(text.contains("\n- An XDP program (id 7)"), "{text}");
    assert_eq!(ended(&blind), Ended::Healthy);
    let mut local = explanation(Vec::new(), Vec::new());
    local.sight.not_counted = vec!["2 dials to port 30130 were made on this node itself.".into()];
    let text = plain(&local, &frame(None));
    assert!(
        !text.contains("Nobody") && !text.contains("network ACLs, and"),
        "{text}"
    );
    assert_eq!(ended(&local), Ended::Healthy);
}

#[test]
fn problems_come_first_at_any_width() {
    let sick = sick();
    for width in [60, 80, 200] {
        assert_page(&format!("sick_{width}"), &sick, &frame(Some(width)));
    }
    assert_page("sick_without_a_terminal", &sick, &frame(None));
    assert_eq!(ended(&sick), Ended::Problem);
}

#[test]
fn names_stand_beside_ports_and_backends() {
    for width in [60, 80, 200] {
        assert_page(&format!("named_{width}"), &named(), &frame(Some(width)));
    }
}

#[test]
fn unexplained_failures_are_a_problem_too() {
    let mut strange = explanation(vec![refused(30_102)], Vec::new());
    strange.unexplained = 12;
    assert_page("unexplained", &strange, &frame(Some(80)));
    assert_eq!(ended(&strange), Ended::Problem);
}

#[test]
fn ports_with_older_connections_alone_get_no_row() {
    let old = port(30_103, [], [], []);
    let mut some = explanation(vec![healthy(30_101), old.clone()], Vec::new());
    some.ports[0].attempts += 2;
    some.ports[0].undecided = 2;
    let text = plain(&some, &frame(None));
    assert!(!text.contains("30103"), "{text}");
    let line = "Healthy: 0 of 55 attempts failed, 2 not decided yet (1 port).";
    assert!(text.contains(line), "{text}");
    let text = plain(&explanation(vec![old], Vec::new()), &frame(None));
    assert!(text.contains("Nobody tried"), "{text}");
}

#[test]
fn problems_without_a_cause_count_as_not_explained() {
    let mut strange = sick();
    strange.verdicts[1].verdict = Verdict::Unexplained;
    strange.unexplained = strange.verdicts[1].failed;
    let text = plain(&strange, &frame(None));
    assert!(
        text.contains("Not explained: 12 failed attempts."),
        "{text}"
    );
}

#[test]
fn many_healthy_ports_share_a_row_unless_told() {
    let mut ports: Vec<PortRow> = (30_101..30_125).map(healthy).collect();
    ports.push(refused(30_125));
    let verdicts = vec![finding(30_125, Verdict::NothingListens, 12, 1.0)];
    let many = explanation(ports, verdicts);
    assert_page("ports_25", &many, &frame(Some(80)));
    let all = Frame {
        all: true,
        ..frame(Some(80))
    };
    assert_page("ports_25_all", &many, &all);
}

#[test]
fn no_problem_is_ever_in_the_shared_row() {
    let mut ports: Vec<PortRow> = (30_100..30_140).map(refused).collect();
    ports.extend((30_200..30_210).map(healthy));
    let text = plain(&explanation(ports, Vec::new()), &frame(None));
    assert_eq!(
        text.lines().filter(|line| line.starts_with("? ")).count(),
        40
    );
    assert!(text.contains("\n  +10"), "{text}");
}

#[test]
fn long_texts_and_large_numbers_fit() {
    let mut long = sick();
    let large = [
        ("established", 99_999),
        ("half_open", 12_345),
        ("unreachable", 99_999),
        ("timed_out", 99_999),
    ];
    let traffic = [("thrift", 99_999), ("unknown", 99_999)];
    long.ports[0] = port(30_101, large, traffic, [("backend_rst", 99_999)]);
    let word = "word ".repeat(60);
    long.ports[1].service = Some(format!("{0}/{0}:{0}", "n".repeat(63)));
    let finding = &mut long.verdicts[0];
    finding.service = long.ports[1].service.clone();
    finding.pod = Some("n/".to_owned() + &"p".repeat(253));
    finding.evidence = vec![word.clone(), "x".repeat(150), word.clone(), word.clone()];
    finding.next = word;
    finding.backend = Some(
        "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535"
            .parse()
            .unwrap(),
    );
    assert_page("long", &long, &frame(Some(80)));
}

#[test]
fn strangers_cannot_drive_the_terminal() {
    let mut evil = sick();
    let name = "java\u{1b}[2J\r\n\u{202e}\u{7}".to_owned();
    evil.verdicts[0].evidence[0] = format!("The process {name} holds the port.");
    evil.verdicts[0].next = name.clone();
    evil.ports[0].answered_by.insert(name.clone(), 3);
    evil.ports[0].service = Some(name.clone());
    evil.verdicts[0].service = Some(name.clone());
    evil.verdicts[0].pod = Some(name.clone());
    evil.not_visible.push(name);
    let mut frame = frame(Some(80));
    frame.node = "\u{1b}]0;x\u{7}".to_owned();
    assert_page("control_characters", &evil, &frame);
}

#[test]
fn colour_is_never_alone() {
    let sick = sick();
    let styled = text::render(&sick, &frame(Some(80)));
    assert!(styled.contains("\u{1b}["));
    let plain = plain(&sick, &frame(Some(80)));
    assert!(
        plain.contains("! 30102") && plain.contains("? 30120"),
        "{plain}"
    );
}

#[test]
fn impossible_numbers_do_no_harm() {
    let mut odd = sick();
    odd.window_s = f64::MAX;
    odd.verdicts[0].share = f64::NAN;
    for row in &mut odd.ports {
        row.attempts = u64::MAX;
        row.outcomes
            .values_mut()
            .for_each(|count| *count = u64::MAX);
    }
    for width in [None, Some(0), Some(1), Some(usize::MAX)] {
        assert!(plain(&odd, &frame(width)).contains("failed"));
    }
}

#[test]
fn a_scan_is_not_told_port_by_port() {
    let ports = || (30_000..32_768).map(|p| port(p, [("refused", 1)], [("unknown", 1)], []));
    let findings = || (30_000..32_768).map(|p| finding(p, Verdict::NoServiceRule, 1, 0.0));
    let scanned = explanation(ports().collect(), findings().collect());
    let text = plain(&scanned, &frame(None));
    assert!(text.lines().count() < 300, "{}", text.lines().count());
    for words in [
        "+2718: other ports, 2718 of them with failures; --all gives each its own row.",
        "2748 more problems, none of them larger: no_service_rule at 2748 ports (2748 failed \
         attempts).",
        "are a port scan",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let all = Frame {
        all: true,
        ..frame(None)
    };
    let text = plain(&scanned, &all);
    assert!(text.contains("2768. Port 32767") && !text.contains("more problems"));
}
