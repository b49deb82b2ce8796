//! The container image, run by a real container runtime with what the chart's pod asks for, and
//! nothing else: capabilities, read-only root, the runtime's own seccomp profile, limits.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::{
    KubeProxy, Mode, ServicePort, Topology, Tracer,
    addr::{NODE_V4, pod_v4},
    cleanup::ScratchDir,
    http,
    peer::{Behaviour, Dial, Server},
    process::{poll_until, run},
};

use super::{chart, list, repository, text};

const IMAGE: &str = "localhost/tracer:test";
const LIMIT: Duration = Duration::from_secs(60);
/// Answers; nothing listens.
const PORTS: [u16; 2] = [31851, 31852];
const LEAST: &str = "evidence.pods=false,evidence.kernelSymbols=false,kubernetes.enabled=false";

/// Podman with its files in a directory of ours.
struct Podman(ScratchDir);

impl Podman {
    /// With the image of the binary under test in it.
    fn with_image() -> Result<Self> {
        let podman = Self(ScratchDir::new()?);
        let context = ScratchDir::new()?;
        std::fs::copy(Tracer::binary()?, context.path().join("tracer"))?;
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            std::fs::copy(repository(licence), context.path().join(licence))?;
        }
        let mut build = podman.command();
        build.args(["build", "-q", "-t", IMAGE, "--build-arg=VERSION=1.2.3"]);
        build.args([
            "--build-arg=REVISION=abc",
            "--build-arg=CREATED=2026-01-01T00:00:00Z",
        ]);
        build.arg("-f").arg(repository("deploy/Dockerfile"));
        run(
            {
                build.arg(context.path());
                build
            },
            "",
        )
        .context("is Debian's podman installed?")?;
        Ok(podman)
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.0.path().join(name);
        let mut podman = Command::new("podman");
        // vfs has no mounts to leave behind; crun knows no mixed cgroup versions.
        podman.args([
            "--storage-driver=vfs",
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
        ]);
        podman
            .arg("--root")
            .arg(at("root"))
            .arg("--runroot")
            .arg(at("run"));
        podman
    }

    /// `podman run` with the rights and limits of a pod of the chart, in a network namespace.
    fn pod(&self, pod: &Value, network: &str) -> Command {
        let container = &pod["containers"][0];
        let context = &container["securityContext"];
        let mut podman = self.command();
        podman
            .args(["run", "--rm", "--network"])
            .arg(format!("ns:/run/netns/{network}"));
        // The defaults are more than this test may give.
        podman.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]);
        podman.arg("--cap-drop=ALL");
        for capability in chart::capabilities(pod) {
            podman.arg(format!("--cap-add={capability}"));
        }
        if pod["hostPID"] == true {
            podman.arg("--pid=host");
        }
        if context["allowPrivilegeEscalation"] == false {
            podman.arg("--security-opt=no-new-privileges");
        }
        if context["readOnlyRootFilesystem"] == true {
            podman.args([
                "--read-only",
                "--read-only-tmpfs=false",
                "--tmpfs=/run/tracer:mode=0755",
            ]);
        }
        let memory = text(&container["resources"]["limits"]["memory"]);
        podman.arg(format!(
            "--memory={}",
            memory.trim_end_matches('i').to_lowercase()
        ));
        podman
    }
}

/// What the container of a pod is called with, the node's address put in.
fn arguments(pod: &Value) -> Vec<String> {
    let args = list(&pod["containers"][0]["args"]).iter();
    args.map(|arg| text(arg).replace("$(NODE_IP)", &NODE_V4.to_string()))
        .collect()
}

fn services(bed: &Topology) -> Result<Server> {
    let mut rules = KubeProxy::new(Mode::IptablesNft);
    for (port, target) in PORTS.into_iter().zip([9851_u16, 9852]) {
        let service = ServicePort::new(&format!("default/p{port}:thrift"), port);
        rules = rules.port(service.backend((pod_v4(0), target)));
    }
    rules.apply(&bed.node)?;
    Server::start(&bed.pods[0], (pod_v4(0), 9851), Behaviour::Echo)
}

#[test]
fn the_image_has_its_labels() -> Result<()> {
    let podman = Podman::with_image()?;
    let mut inspect = podman.command();
    inspect.args(["image", "inspect", IMAGE]);
    let image: Value = serde_json::from_str(&run(inspect, "")?)?;
    let labels = &image[0]["Labels"];
    let label = |name: &str| text(&labels[format!("org.opencontainers.image.{name}")]).to_owned();
    assert_eq!(label("title"), "tracer");
    assert_eq!(label("version"), "1.2.3");
    assert_eq!(label("revision"), "abc");
    assert_eq!(label("created"), "2026-01-01T00:00:00Z");
    assert!(label("licenses").contains("Apache-2.0"));
    assert!(!label("description").is_empty());
    let mut version = podman.command();
    version.args(["run", "--rm", "--network=none", "--cap-drop=ALL"]);
    version.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]);
    let told = run(
        {
            version.args([IMAGE, "--version"]);
            version
        },
        "",
    )?;
    assert!(told.starts_with("tracer "), "{told}");
    Ok(())
}

/// With the chart's defaults the daemon starts, counts, and says why a port fails, for which it
/// has to look into the pod's namespace; and it keeps its memory limit.
#[test]
fn the_image_works_with_the_rights_of_the_chart() -> Result<()> {
    let bed = Topology::builder().build()?;
    let _server = services(&bed)?;
    // A pod's processes are what its namespace is found by.
    let mut pause = bed.pods[0].command("sleep")?;
    pause.arg("600");
    let _pause = bed.pods[0].spawn(pause)?;
    let podman = Podman::with_image()?;
    let pod = chart::pod(&["--set", "kubernetes.enabled=false"])?;
    let settings = ScratchDir::new()?;
    settings.write("tracer.yaml", "node_ports: 31851-31852\n")?;
    let name = format!("tracer-{}", std::process::id());
    let mut command = podman.pod(&pod, bed.node.name());
    command.arg(format!("--name={name}"));
    command.arg(format!(
        "--volume={}:/etc/tracer:ro",
        settings.path().display()
    ));
    command.arg(IMAGE).args(arguments(&pod));
    let mut daemon = testbed::Proc::start(command)?;
    let address = (NODE_V4, 9400).into();
    daemon.wait_until(LIMIT, "the container is not ready", |_| {
        http::get(&bed.node, address, "/readyz", "*/*").is_ok_and(|r| r.status == 200)
    })?;
    for _ in 0..5 {
        Dial::new(&bed.client, (NODE_V4, PORTS[0])).connect_fin()?;
        ensure!(
            Dial::new(&bed.client, (NODE_V4, PORTS[1]))
                .connect()?
                .is_err()
        );
    }
    let exec = |args: &[&str]| {
        let mut command = podman.command();
        command.args(["exec", &name, "tracer"]).args(args);
        let output = command.output()?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    poll_until(LIMIT, "explain does not name the fault", || {
        let told = exec(&["explain", "-o", "json", "--last", "1m"])?;
        let told: Value = serde_json::from_str(&told).with_context(|| told.clone())?;
        let found = list(&told["verdicts"]).iter().any(|finding| {
            // The second listener is what the pod's namespace shows.
            finding["verdict"] == "nothing_listens" && finding.to_string().contains("9851")
        });
        Ok(found.then_some(()))
    })?;
    ensure!(exec(&["check"])?.contains("wire                   required  ok"));
    let peak = peak_memory(&podman, &name)?;
    let mut stop = podman.command();
    run(
        {
            stop.args(["stop", "-t", "10", &name]);
            stop
        },
        "",
    )?;
    ensure!(peak > 0 && peak < 128 << 20, "{peak} bytes of 128 MiB");
    println!("peak of the container's memory: {} KiB", peak >> 10);
    Ok(())
}

/// Bytes of memory, BPF maps included, that the container has used at most.
fn peak_memory(podman: &Podman, name: &str) -> Result<u64> {
    let mut inspect = podman.command();
    inspect.args(["inspect", "--format", "{{.State.Pid}}", name]);
    let pid = run(inspect, "")?;
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.trim()))?;
    let line = |controller: &str| {
        let mut lines = groups
            .lines()
            .map(|line| line.splitn(3, ':').collect::<Vec<_>>());
        lines
            .find(|parts| parts[1] == controller)
            .map(|parts| parts[2].to_owned())
    };
    let root = Path::new("/sys/fs/cgroup");
    let file = match line("memory") {
        Some(path) => root
            .join("memory")
            .join(path.trim_start_matches('/'))
            .join("memory.max_usage_in_bytes"),
        None => {
            let path = line("").context("no cgroup")?;
            root.join(path.trim_start_matches('/')).join("memory.peak")
        }
    };
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(text.trim().parse()?)
}

/// The least rights: this runtime's default profile keeps bpf(2) to those who have SYS_ADMIN,
/// ours does not.
#[test]
fn the_least_rights_need_our_seccomp_profile() -> Result<()> {
    let bed = Topology::builder().build()?;
    let podman = Podman::with_image()?;
    let pod = chart::pod(&["--set", LEAST])?;
    let profile = repository("deploy/seccomp/tracer.json");
    let check = |tap: &str| {
        let mut command = podman.pod(&pod, bed.node.name());
        command.arg(format!("--security-opt=seccomp={}", profile.display()));
        run(
            {
                command.args([IMAGE, "check", "--wire-tap", tap]);
                command
            },
            "",
        )
    };
    for tap in ["tcx", "packet"] {
        let told = check(tap)?;
        ensure!(
            told.lines()
                .any(|line| line.starts_with("wire") && line.contains(" ok ")),
            "{told}"
        );
    }
    Ok(())
}
