//! Recording rules, alerts and their runbooks.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;
use testbed::process::run;

use super::{
    chart::{ALL_ON, of_kind, rendered},
    documents, list, read, repository, text, tool, yaml,
};

const RULES: [&str; 2] = ["tracer.rules.yaml", "tracer.alerts.yaml"];
const PROMETHEUS: &str = "deploy/prometheus";

/// All rules of the alerts' file.
fn alerts() -> Result<Vec<Value>> {
    let file = yaml(&read("deploy/prometheus/tracer.alerts.yaml")?)?;
    let groups = list(&file["groups"]).iter();
    Ok(groups.flat_map(|g| list(&g["rules"]).to_vec()).collect())
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() -> Result<()> {
    let mut check = tool("promtool", PROMETHEUS);
    check.args(["check", "rules", "--lint-fatal"]).args(RULES);
    run(check, "")?;
    let mut test = tool("promtool", PROMETHEUS);
    test.args(["test", "rules", "tracer.rules.test.yaml"]);
    run(test, "")?;
    Ok(())
}

/// promtool judges what the cases say; that there is a case of each kind is judged here.
#[test]
fn each_alert_is_tested_to_fire_and_to_be_silent() -> Result<()> {
    let file = yaml(&read("deploy/prometheus/tracer.rules.test.yaml")?)?;
    let (mut fire, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in list(&file["tests"]) {
        for check in list(&case["alert_rule_test"]) {
            let kind = match list(&check["exp_alerts"]) {
                [] => &mut silent,
                _ => &mut fire,
            };
            kind.insert(text(&check["alertname"]).to_owned());
        }
    }
    let all = alerts()?;
    let all: BTreeSet<String> = all.iter().map(|a| text(&a["alert"]).to_owned()).collect();
    assert!(all.len() > 10, "{all:?}");
    assert_eq!(fire, all);
    assert_eq!(silent, all);
    Ok(())
}

/// Each alert has what a person woken by it needs, and each page an alert.
#[test]
fn each_alert_has_its_page() -> Result<()> {
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    for alert in alerts()? {
        let name = text(&alert["alert"]);
        let notes = &alert["annotations"];
        let severity = text(&alert["labels"]["severity"]);
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        assert!(!text(&notes["summary"]).is_empty(), "{name}: summary");
        assert!(
            !text(&notes["description"]).is_empty(),
            "{name}: description"
        );
        // A path is no URL; the chart makes one where it knows the place.
        assert_eq!(notes["runbook_url"], Value::Null, "{name}");
        let page = read(&format!("docs/runbooks/{name}.md"))?;
        assert!(
            page.starts_with(&format!("# {name}\n\n**Do now:** ")),
            "{name}"
        );
        assert!(page.contains("\n## First look\n"), "{name}");
        pages.insert(format!("{name}.md"));
    }
    let there = std::fs::read_dir(repository("docs/runbooks"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(there, pages);
    Ok(())
}

/// Alerts say the verdict: the page has to have each, as the daemon calls it.
#[test]
fn every_verdict_has_its_remedy() -> Result<()> {
    let names = read("tracer/src/verdict/names.rs")?;
    let names = names
        .lines()
        .filter_map(|line| line.trim().split_once(" = \""));
    let names: Vec<&str> = names
        .filter_map(|(_, rest)| rest.strip_suffix("\","))
        .collect();
    assert!(
        names.len() > 25 && names.contains(&"unexplained"),
        "{names:?}"
    );
    let page = read("docs/runbooks/TracerServiceHandshakesFailing.md")?;
    let (_, remedies) = page.split_once("\n| verdict |").unwrap_or_default();
    for name in names {
        assert!(remedies.contains(&format!("`{name}`")), "{name}");
    }
    Ok(())
}

/// promtool reads what Helm has made of the rules.
#[test]
fn the_prometheus_rule_holds_all_rules() -> Result<()> {
    let objects = documents(&rendered(&ALL_ON)?)?;
    let rule = of_kind(&objects, "PrometheusRule")?;
    let dir = testbed::cleanup::ScratchDir::new()?;
    let file = dir.write("rules.yaml", &rule["spec"].to_string())?;
    let mut check = std::process::Command::new("promtool");
    check.args(["check", "rules"]).arg(&file);
    run(check, "")?;
    let rules = || {
        list(&rule["spec"]["groups"])
            .iter()
            .flat_map(|g| list(&g["rules"]))
    };
    assert!(
        list(&rule["spec"]["groups"])
            .iter()
            .all(|g| g["interval"] == "1m")
    );
    let alerts = rules().filter(|rule| rule["alert"].is_string());
    assert!(alerts.clone().count() > 10);
    for alert in alerts {
        let page = format!("docs/runbooks/{}.md", text(&alert["alert"]));
        assert!(repository(&page).exists(), "{page}");
        let url = format!("https://runbooks.example/tracer/{page}");
        assert_eq!(text(&alert["annotations"]["runbook_url"]), url);
    }
    assert!(rules().any(|rule| rule["record"] == "node_port:tracer_node_port_info:majority"));
    // Without a place there is no path that looks like one.
    let without = documents(&rendered(&["--set", "prometheusRule.enabled=true"])?)?;
    assert!(
        !of_kind(&without, "PrometheusRule")?
            .to_string()
            .contains("runbook")
    );
    Ok(())
}
