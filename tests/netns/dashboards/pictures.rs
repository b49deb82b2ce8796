//! The story on nine nodes, and what Prometheus answers to the dashboards' queries meanwhile.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use testbed::{
    Tracer,
    peers::Prometheus,
    story::{NODES, Story},
};

use super::{BOARDS, deploy, list, substituted, text};

/// A listener that answers, for calls.
const CALLED: u16 = 30103;
/// Minutes of the story, compressed, with few nodes and with all.
const MINUTES: [usize; 2] = [4, 10];

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// The answers by panel and query, as Grafana would ask.
fn answers(
    board: &Value,
    prometheus: &Prometheus<'_>,
    times: &std::ops::Range<u64>,
) -> Result<Value> {
    let mut panels = Map::new();
    for panel in list(&board["panels"]) {
        let mut answers = Map::new();
        for target in list(&panel["targets"]) {
            if target["datasource"]["type"] != "prometheus" {
                continue;
            }
            // Three load-balancer nodes, and 2 s for 10 s.
            let mut expr = text(&target["expr"])
                .replace("$sources", "3")
                .replace("$interval", "2");
            // One of the dashboards is about one node.
            if board["uid"] != "tracer-node" {
                expr = expr.replace("$instance", ".*");
            }
            let promql = substituted(&expr);
            let rows = if target["instant"] == true {
                prometheus.query(&promql)?
            } else {
                prometheus.query_range(&promql, times.clone())?
            };
            answers.insert(text(&target["refId"]).to_owned(), rows.into());
        }
        panels.insert(panel["id"].to_string(), answers.into());
    }
    Ok(panels.into())
}

#[test]
#[ignore = "takes minutes and asserts nothing: it writes target/pictures"]
fn data_of_the_pictures() -> Result<()> {
    let story = Story::new()?;
    let _tracers = story.trace(&Tracer::binary()?)?;
    let rules = ["tracer.rules.yaml", "tracer.alerts.yaml"];
    let rules = rules.map(|name| deploy(&format!("prometheus/{name}")));
    let prometheus = story.watch(&rules)?;
    let start = now()?;
    let mut balancer = story.balancer();
    let mut registered = 0;
    for (nodes, minutes) in NODES.into_iter().zip(MINUTES) {
        balancer.register(registered..nodes)?;
        registered = nodes;
        for _ in 0..minutes {
            balancer.minute(nodes, || {})?;
            balancer.call(nodes, CALLED, 20)?;
        }
    }
    let times = start..now()?;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
    for name in BOARDS {
        let board = fs::read_to_string(deploy(&format!("grafana/{name}.json")))?;
        let board: Value = serde_json::from_str(&board)?;
        let answers = answers(&board, &prometheus, &times)?;
        let data =
            json!({"board": board, "answers": answers, "start": times.start, "end": times.end});
        let dir = dir.join(name);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        fs::write(dir.join("data.js"), format!("const DATA = {data};\n"))?;
        fs::copy(
            deploy("../docs/pictures/render.html"),
            dir.join("index.html"),
        )?;
    }
    Ok(())
}
