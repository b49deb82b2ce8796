//! The Helm chart and the manifest rendered from it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testbed::process::run;

use super::{documents, list, python_tool, read, repository, text, yaml};

const CHART: &str = "deploy/chart";
const MANIFEST: &str = "deploy/manifest/tracer.yaml";
/// What the manifest is rendered with.
const NAMESPACE: [&str; 4] = ["--namespace", "tracer", "--set", "namespace.create=true"];
/// Without it nothing is rendered.
pub(super) const IMAGE: [&str; 2] = ["--set", "image.repository=registry.example/tracer"];
/// Everything that is off unless asked for.
pub(super) const ALL_ON: [&str; 12] = [
    "--set",
    "podMonitor.enabled=true,prometheusRule.enabled=true,networkPolicy.enabled=true",
    "--set",
    "dashboards.enabled=true,namespace.create=true,raiseMemlock=true",
    "--set",
    "settings.flows=8192,web.configSecret=tracer-web,web.scheme=https",
    "--set",
    "prometheusRule.interval=1m,prometheusRule.runbookBaseUrl=https://runbooks.example/tracer/",
    "--set",
    "extraVolumes[0].name=names,extraVolumes[0].configMap.name=names,commonLabels.team=platform",
    "--set",
    "extraVolumeMounts[0].name=names,extraVolumeMounts[0].mountPath=/etc/names,extraArgs={--flows=64}",
];

pub(super) fn rendered(args: &[&str]) -> Result<String> {
    let mut helm = python_tool("helm", "deploy")?;
    helm.args(["template", "tracer", "chart"])
        .args(IMAGE)
        .args(args);
    run(helm, "")
}

/// The object of a kind, which has to be the only one.
pub(super) fn of_kind(objects: &[Value], kind: &str) -> Result<Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object.clone()),
        (None, _) => bail!("no {kind}"),
        _ => bail!("several of kind {kind}"),
    }
}

/// The object of a kind and a name.
pub(super) fn of_name(objects: &[Value], kind: &str, name: &str) -> Result<Value> {
    let mut found = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let found = found.next().with_context(|| format!("no {kind} {name}"));
    found.cloned()
}

fn kinds(objects: &[Value]) -> BTreeSet<&str> {
    objects.iter().map(|object| text(&object["kind"])).collect()
}

/// The pod that the DaemonSet makes.
pub(super) fn pod(args: &[&str]) -> Result<Value> {
    let daemon_set = of_kind(&documents(&rendered(args)?)?, "DaemonSet")?;
    Ok(daemon_set["spec"]["template"]["spec"].clone())
}

pub(super) fn capabilities(pod: &Value) -> BTreeSet<String> {
    let added = &pod["containers"][0]["securityContext"]["capabilities"]["add"];
    list(added)
        .iter()
        .map(|name| text(name).to_owned())
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn helm_lints_the_chart() -> Result<()> {
    for args in [&[][..], &ALL_ON] {
        let mut helm = python_tool("helm", CHART)?;
        helm.args(["lint", "--strict", "."]).args(IMAGE).args(args);
        run(helm, "")?;
    }
    Ok(())
}

#[test]
fn the_manifest_is_the_rendered_chart() -> Result<()> {
    let set = [&IMAGE[..], &NAMESPACE].concat().join(" ");
    let command = format!("helm template tracer deploy/chart {set}");
    assert!(
        rendered(&NAMESPACE)? == read(MANIFEST)?,
        "{MANIFEST} is stale: {command} > {MANIFEST}"
    );
    Ok(())
}

/// Strictly: no field that Kubernetes does not know. Objects of the Prometheus operator are
/// not Kubernetes' own.
#[test]
fn kubernetes_knows_every_field() -> Result<()> {
    let mut everything = documents(&rendered(&ALL_ON)?)?;
    let monitored = documents(&rendered(&["--set", "serviceMonitor.enabled=true"])?)?;
    everything.push(of_kind(&monitored, "Service")?);
    let own = |object: &&Value| !text(&object["apiVersion"]).starts_with("monitoring.coreos.com");
    let dir = testbed::cleanup::ScratchDir::new()?;
    let mut files = vec![repository(MANIFEST)];
    for (i, object) in everything.iter().filter(own).enumerate() {
        files.push(dir.write(&format!("{i}.yaml"), &object.to_string())?);
    }
    assert!(files.len() > 7, "{files:?}");
    for version in ["1.25", "1.36"] {
        let mut validate = python_tool("kubernetes-validate", "deploy")?;
        validate.args(["-k", version, "--strict"]).args(&files);
        run(validate, "").with_context(|| version.to_owned())?;
    }
    Ok(())
}

#[test]
fn each_privilege_belongs_to_its_feature() -> Result<()> {
    let default = pod(&[])?;
    assert_eq!(default["hostNetwork"], true);
    assert_eq!(default["hostPID"], true);
    let all = names([
        "BPF",
        "PERFMON",
        "NET_ADMIN",
        "NET_RAW",
        "SYS_ADMIN",
        "SYS_PTRACE",
        "SYSLOG",
    ]);
    assert_eq!(capabilities(&default), all);
    let least = "evidence.pods=false,evidence.kernelSymbols=false,kubernetes.enabled=false";
    let least = pod(&["--set", least])?;
    assert_eq!(least["hostPID"], Value::Null);
    assert_eq!(least["automountServiceAccountToken"], false);
    let off = Value::from("--pod-evidence=false");
    assert!(list(&least["containers"][0]["args"]).contains(&off));
    assert!(!list(&default["containers"][0]["args"]).contains(&off));
    assert_eq!(
        capabilities(&least),
        names(["BPF", "PERFMON", "NET_ADMIN", "NET_RAW"])
    );
    for pod in [default, least] {
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["privileged"], false);
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(
            pod["tolerations"],
            serde_json::json!([{"operator": "Exists"}])
        );
        assert_eq!(pod["hostIPC"], Value::Null);
        for volume in list(&pod["volumes"]) {
            assert_eq!(volume["hostPath"], Value::Null);
        }
    }
    Ok(())
}

/// A password or certificate is nothing that the kubelet has.
#[test]
fn a_web_config_reaches_daemon_probes_and_prometheus() -> Result<()> {
    let set = "web.configSecret=tracer-web,web.scheme=https,podMonitor.enabled=true";
    let endpoint = "podMonitor.endpoint.basicAuth.username.name=scraper";
    let args = ["--set", set, "--set", endpoint];
    let objects = documents(&rendered(&args)?)?;
    let template = of_kind(&objects, "DaemonSet")?["spec"]["template"].clone();
    let annotations = |args: &[&str]| {
        let objects = documents(&rendered(args)?)?;
        let template = of_kind(&objects, "DaemonSet")?["spec"]["template"].clone();
        Ok::<Value, anyhow::Error>(template["metadata"]["annotations"].clone())
    };
    let scraped = annotations(&["--set", "web.scheme=https"])?;
    assert_eq!(scraped["prometheus.io/scheme"], "https");
    assert_eq!(scraped["prometheus.io/path"], "/metrics");
    let container = &template["spec"]["containers"][0];
    let argument = "--web.config.file=/etc/tracer-web/web.yml";
    assert!(list(&container["args"]).contains(&argument.into()));
    let named = |all: &Value| list(all).iter().find(|one| one["name"] == "web").cloned();
    let mount = named(&container["volumeMounts"]).context("no mount")?;
    assert_eq!(
        (&mount["mountPath"], &mount["readOnly"]),
        (&"/etc/tracer-web".into(), &true.into())
    );
    let volume = named(&template["spec"]["volumes"]).context("no volume")?;
    assert_eq!(volume["secret"]["secretName"], "tracer-web");
    let ready = serde_json::json!(["tracer", "health"]);
    for probe in ["startupProbe", "readinessProbe"] {
        assert_eq!(container[probe]["exec"]["command"], ready);
        assert_eq!(container[probe]["httpGet"], Value::Null);
    }
    let live = &container["livenessProbe"]["exec"]["command"];
    assert_eq!(*live, serde_json::json!(["tracer", "health", "--live"]));
    let monitor = of_kind(&objects, "PodMonitor")?;
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["scheme"], "https");
    assert_eq!(endpoint["basicAuth"]["username"]["name"], "scraper");
    let without = pod(&[])?["containers"][0].clone();
    assert_eq!(without["livenessProbe"]["httpGet"]["path"], "/livez");
    assert!(
        !list(&without["args"])
            .iter()
            .any(|arg| text(arg).contains("web.config"))
    );
    Ok(())
}

#[test]
fn the_role_reads_services_and_endpoint_slices_only() -> Result<()> {
    let objects = documents(&rendered(&[])?)?;
    let role = of_kind(&objects, "ClusterRole")?;
    let mut resources = Vec::new();
    for rule in list(&role["rules"]) {
        assert_eq!(rule["verbs"], serde_json::json!(["list", "watch"]));
        resources.extend(list(&rule["resources"]).iter().map(text));
    }
    assert_eq!(resources, ["services", "endpointslices"]);
    let without = documents(&rendered(&["--set", "kubernetes.enabled=false"])?)?;
    let kinds = kinds(&without);
    assert!(
        !kinds.contains("ClusterRole") && !kinds.contains("ClusterRoleBinding"),
        "{kinds:?}"
    );
    Ok(())
}

#[test]
fn options_reach_the_pod() -> Result<()> {
    let args = |pod: &Value| list(&pod["containers"][0]["args"]).to_vec();
    let default = args(&pod(&[])?);
    assert!(default.contains(&"--kubernetes=on".into()), "{default:?}");
    let objects = documents(&rendered(&ALL_ON)?)?;
    let config = of_name(&objects, "ConfigMap", "tracer")?;
    assert_eq!(yaml(text(&config["data"]["tracer.yaml"]))?["flows"], 8192);
    let pod = pod(&ALL_ON)?;
    let off = super::chart::pod(&["--set", "kubernetes.enabled=false"])?;
    assert!(args(&off).contains(&"--kubernetes=off".into()));
    assert!(capabilities(&pod).contains("SYS_RESOURCE"));
    let monitor = of_kind(&objects, "PodMonitor")?;
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["honorLabels"], true);
    Ok(())
}

/// Of a real cluster Helm knows the kinds, of none those of the groups that it was built with.
#[test]
fn objects_of_the_operator_need_the_operator() -> Result<()> {
    const CLUSTER: [&str; 4] = [
        "--api-versions",
        "apps/v1/DaemonSet",
        "--set",
        "podMonitor.enabled=true",
    ];
    let error = rendered(&CLUSTER).map_or_else(|e| format!("{e:#}"), |_| String::new());
    assert!(
        error.contains("this cluster has no kind PodMonitor"),
        "{error}"
    );
    let operator = ["--api-versions", "monitoring.coreos.com/v1/PodMonitor"];
    rendered(&[&CLUSTER[..], &operator].concat()).map(drop)
}

#[test]
fn wrong_values_are_refused() -> Result<()> {
    for (wrong, complaint) in [
        ("web.port=70000", "web.port"),
        ("web.scheme=ftp", "web.scheme"),
        ("evidence.pod=true", "pod is not allowed"),
        ("extraCapabilities={CAP_SYS_BOOT}", "extraCapabilities"),
        ("seccompProfile.type=Localhost", "seccompProfile"),
        ("podMonitor.interval=soon", "podMonitor.interval"),
        ("prometheusRule.runbookBaseUrl=docs", "runbookBaseUrl"),
        ("commonLabels.app\\.kubernetes\\.io/name=x", "commonLabels"),
        ("image.repository=", "image.repository is empty"),
        (
            "podMonitor.enabled=true,serviceMonitor.enabled=true",
            "scrape each node twice",
        ),
    ] {
        let error =
            rendered(&["--set", wrong]).map_or_else(|e| format!("{e:#}"), |_| String::new());
        assert!(error.contains(complaint), "{wrong}: {error}");
    }
    Ok(())
}
