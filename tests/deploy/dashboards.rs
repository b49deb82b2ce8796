//! The dashboards: Grafana's own types accept them, and they keep our rules. That each query
//! returns something is judged in `tests/netns/dashboards.rs`.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::cleanup::ScratchDir;

use super::{list, read, text};

pub(super) const NAMES: [&str; 3] = ["fleet", "node", "service"];
const VARIABLES: [&str; 6] = [
    "datasource",
    "cluster",
    "job",
    "instance",
    "namespace",
    "service",
];

/// Grafana keeps the options of each kind of panel in a file of its own.
const OPTIONS: [(&str, &str); 4] = [
    ("timeseries", "TimeSeries"),
    ("table", "Table"),
    ("stat", "Stat"),
    ("heatmap", "Heatmap"),
];

/// The words of an enum stand in JSON where its type wants the enum; what an annotation asks its
/// data source is that source's own business.
const TYPES: &str = "\
type Json<T> = T extends string ? `${T}` : T extends Function ? never
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Query = { expr: string; step: string; titleFormat: string; textFormat: string };
type Annotations = { list: Array<AnnotationQuery | (AnnotationQuery & Query)> };
type Annotated = Omit<Dashboard, 'annotations'> & { annotations: Annotations };
";

fn dashboard(name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&read(&format!(
        "deploy/grafana/{name}.json"
    ))?)?)
}

/// Panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = list(&dashboard["panels"]).iter();
    all.filter(|panel| panel["type"] != "row")
}

/// A TypeScript module in which the dashboard has to be what Grafana says it is.
fn module(dashboard: &Value) -> String {
    let mut module =
        "import type { AnnotationQuery, Dashboard } from '@grafana/schema';\n".to_owned();
    for (kind, name) in OPTIONS {
        let path = format!("composable/{kind}/panelcfg/x/{name}PanelCfg_types.gen");
        module += &format!("import type * as {kind} from '@grafana/schema/dist/esm/raw/{path}';\n");
    }
    module += TYPES;
    module += &format!("export const dashboard: Json<Annotated> = {dashboard};\n");
    for panel in panels(dashboard) {
        let (kind, id) = (text(&panel["type"]), &panel["id"]);
        let (options, custom) = (
            &panel["options"],
            &panel["fieldConfig"]["defaults"]["custom"],
        );
        module += &format!("export const options{id}: Json<{kind}.Options> = {options};\n");
        if kind != "stat" {
            module +=
                &format!("export const field{id}: Json<Partial<{kind}.FieldConfig>> = {custom};\n");
        }
    }
    module
}

/// What the compiler says about the modules.
fn compile(modules: &[(String, String)]) -> Result<std::process::Output> {
    let node = std::env::var_os("TRACER_NODE")
        .context("set TRACER_NODE to a directory with node_modules (cargo xtask does)")?;
    let modules_dir = PathBuf::from(node).join("node_modules");
    let dir = ScratchDir::new()?;
    std::os::unix::fs::symlink(&modules_dir, dir.path().join("node_modules"))?;
    for (name, text) in modules {
        dir.write(&format!("{name}.ts"), text)?;
    }
    let options = serde_json::json!({
        "compilerOptions": {
            "strict": true, "noEmit": true, "module": "esnext", "moduleResolution": "bundler",
            "target": "es2022", "skipLibCheck": true, "types": []
        },
        "include": ["*.ts"]
    });
    dir.write("tsconfig.json", &options.to_string())?;
    let mut compiler = Command::new("node");
    compiler.arg(modules_dir.join("typescript/bin/tsc"));
    Ok(compiler.arg("-p").arg(dir.path()).output()?)
}

#[test]
fn grafana_knows_every_field() -> Result<()> {
    let mut modules = Vec::new();
    for name in NAMES {
        modules.push((name.to_owned(), module(&dashboard(name)?)));
    }
    let output = compile(&modules)?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// The check above has teeth: a misspelt field and a wrong word are found.
#[test]
fn grafana_refuses_what_it_does_not_know() -> Result<()> {
    let good = module(&dashboard("fleet")?);
    for (right, wrong) in [
        ("\"graphTooltip\"", "\"graphToltip\""),
        ("\"wideLayout\"", "\"widelayout\""),
        ("\"placement\":\"right\"", "\"placement\":\"rigth\""),
        ("\"drawStyle\":\"line\"", "\"drawStyle\":\"lines\""),
    ] {
        assert!(good.contains(right), "{right}");
        let output = compile(&[("wrong".to_owned(), good.replace(right, wrong))])?;
        assert!(!output.status.success(), "{wrong}");
    }
    Ok(())
}

#[test]
fn dashboards_have_what_all_need() -> Result<()> {
    let mut uids = BTreeSet::new();
    for name in NAMES {
        let board = dashboard(name)?;
        assert_eq!(text(&board["uid"]), format!("tracer-{name}"));
        uids.insert(text(&board["uid"]).to_owned());
        let variables = list(&board["templating"]["list"]).iter();
        let variables: BTreeSet<&str> = variables.map(|v| text(&v["name"])).collect();
        for variable in VARIABLES {
            assert!(variables.contains(variable), "{name}: {variable}");
        }
        let mut ids = BTreeSet::new();
        for panel in panels(&board) {
            let title = text(&panel["title"]);
            assert!(ids.insert(panel["id"].as_u64()), "{name}: {title}: id");
            assert!(!text(&panel["description"]).is_empty(), "{name}: {title}");
            assert!(
                !text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(),
                "{name}: {title}"
            );
            for target in list(&panel["targets"]) {
                let source = &target["datasource"];
                let variable = format!(
                    "${{{}}}",
                    match text(&source["type"]) {
                        "prometheus" => "datasource",
                        other => other,
                    }
                );
                assert_eq!(text(&source["uid"]), variable, "{name}: {title}");
            }
        }
    }
    assert_eq!(uids.len(), NAMES.len());
    Ok(())
}

/// A Service's name alone is not its own: another namespace may have one of the same.
#[test]
fn drill_downs_keep_what_was_chosen() -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in NAMES {
        let board = dashboard(name)?;
        for panel in panels(&board) {
            let overrides = list(&panel["fieldConfig"]["overrides"]).iter();
            let properties = overrides.flat_map(|one| list(&one["properties"]));
            for link in properties
                .filter(|p| p["id"] == "links")
                .flat_map(|p| list(&p["value"]))
            {
                let (target, query) = text(&link["url"]).split_once('?').context("no query")?;
                let carried: BTreeSet<&str> = query.split('&').map(parameter).collect();
                for variable in VARIABLES {
                    // A node has all Services, a Service all nodes.
                    let needed = (target, variable) != ("/d/tracer-service", "instance");
                    assert!(
                        !needed || carried.contains(variable),
                        "{name}: {variable}: {query}"
                    );
                }
                assert!(carried.contains("__url_time_range"), "{name}: {query}");
                seen.insert((name, target.to_owned()));
            }
        }
        for link in list(&board["links"]) {
            assert_eq!(
                (&link["includeVars"], &link["keepTime"]),
                (&true.into(), &true.into())
            );
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    Ok(())
}

/// The variable that a part of a link's query carries.
fn parameter(part: &str) -> &str {
    let value = part
        .strip_prefix("${")
        .map(|rest| rest.trim_end_matches('}'));
    let value = value.map(|rest| rest.trim_end_matches(":queryparam"));
    let named = part
        .strip_prefix("var-")
        .and_then(|rest| rest.split_once('='));
    value.or(named.map(|(name, _)| name)).unwrap_or(part)
}

/// A window of its own would show nothing at long scrape intervals and lie at short ones.
#[test]
fn rates_follow_the_scrape_interval() -> Result<()> {
    let mut seen = 0;
    for name in NAMES {
        let board = dashboard(name)?;
        for expr in panels(&board)
            .flat_map(|p| list(&p["targets"]))
            .map(|t| text(&t["expr"]))
        {
            for (at, _) in expr.match_indices('[') {
                let window = &expr[at..=at + expr[at..].find(']').context("no ]")?];
                assert!(
                    ["[$__rate_interval]", "[$__range]"].contains(&window),
                    "{name}: {expr}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
    Ok(())
}

/// Panels of a dashboard lie side by side.
#[test]
fn panels_do_not_overlap() -> Result<()> {
    for name in NAMES {
        let board = dashboard(name)?;
        let mut cells = BTreeSet::new();
        for panel in list(&board["panels"]) {
            let of = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(0);
            assert!(
                of("x") + of("w") <= 24 && of("h") > 0,
                "{name}: {}",
                panel["title"]
            );
            for y in of("y")..of("y") + of("h") {
                for x in of("x")..of("x") + of("w") {
                    assert!(
                        cells.insert((x, y)),
                        "{name}: {} at {x}, {y}",
                        panel["title"]
                    );
                }
            }
        }
    }
    Ok(())
}
