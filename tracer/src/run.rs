//! The daemon, from start to stop.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

use crate::{
    api, build_info,
    config::Config,
    exit::Exit,
    http::{self, Web},
    logging, preflight,
    privileges::{self, Opens, Role, Sockets},
    recorder::Recorder,
    services::Services,
    signals::{Settings, Signals},
    snapshot::{HookStatus, Source},
};

/// Threads for requests that wait: scrapes and explanations are few at a time.
const BLOCKING: usize = 16;

/// Runs until SIGTERM, SIGINT or SIGQUIT; `load` loads and attaches the kernel side,
/// which is dropped before this returns. `settings`: how `config` is read again.
///
/// # Errors
/// When the address is taken, loading fails or a signal cannot be handled.
pub fn run<L>(config: &Config, settings: &Settings, load: L) -> Result<(), Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit>,
{
    // Before there is any other thread.
    let begun = privileges::begin(config.pod_evidence);
    logging::start_queued(config.log_level, config.log_format)?;
    if let Err(error) = begun {
        tracing::warn!(cause = format!("{error:#}"), "privileges are not dropped");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .build();
    let runtime = runtime.map_err(|e| Exit::runtime("start the runtime", e))?;
    let ended = runtime.block_on(daemon(config, settings, load));
    // A password's comparison is not waited for.
    runtime.shutdown_background();
    ended
}

async fn daemon<L>(config: &Config, settings: &Settings, load: L) -> Result<(), Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit>,
{
    let mut signals = Signals::listen().map_err(|e| Exit::runtime("handle signals", e))?;
    tracing::info!(
        version = build_info::VERSION,
        commit = build_info::COMMIT,
        ports = %config.ports,
        interfaces = interfaces(config),
        "starting"
    );
    let web = preflight::settings(config)?;
    let listener = http::bind(config.listen).await?;
    let address = listener
        .local_addr()
        .map_or(config.listen, |address| address);
    let socket = api::bind(&config.socket).await?;
    let source = load(config)?;
    // Not before: what loading takes in memory is free again by now.
    let services = Services::start(config)?;
    log_hooks(&*source);
    let recorder = Recorder::start(source, config, services);
    let recorder = recorder.map_err(|e| Exit::runtime("remember", e))?;
    let mut folders = web.as_ref().map(Web::folders).unwrap_or_default();
    folders.extend(
        settings
            .file
            .iter()
            .flat_map(|file| privileges::folders(file)),
    );
    drop_privileges(config, &folders);
    if let Some(web) = &web {
        web.log();
    }
    tracing::info!(%address, path = config.telemetry_path, "ready");
    let (stopping, stopped) = watch::channel(());
    let pages = http::router(recorder.clone(), &config.telemetry_path);
    let pages = match &web {
        Some(web) => web.guard(pages),
        None => pages,
    };
    let secure = web.filter(Web::is_secure);
    let pages = http::serve(
        listener,
        pages,
        secure,
        http::Limits::default(),
        told(&stopped),
    );
    let answers = async {
        if let Some((listener, _remove)) = socket {
            let router = api::router(recorder, stopped.clone());
            http::serve(listener, router, None, api::LIMITS, told(&stopped)).await;
        }
    };
    let signalled = async {
        let signal = signals.end(config.clone(), settings).await;
        tracing::info!(signal, "stopping");
        drop(stopping);
    };
    tokio::join!(pages, answers, signalled);
    tracing::info!("stopped");
    Ok(())
}

/// All that starting needed goes; says what is left, and with whom. Files below
/// `folders` will be read again.
fn drop_privileges(config: &Config, folders: &[PathBuf]) {
    // A unit test of the daemon shares its process with others.
    if !privileges::begun() {
        return;
    }
    let held = privileges::held();
    privileges::settle(Role::Reader);
    let socket = config.socket.path().and_then(Path::parent);
    let landlock = privileges::wall(Opens::Below(folders), socket);
    let seccomp = privileges::confine(Sockets::None);
    let kept = |role| privileges::kept(role, &held).join(",");
    tracing::info!(
        readers = kept(Role::Reader),
        keeper = kept(Role::Keeper),
        collector = kept(Role::Collector),
        landlock,
        seccomp,
        "capabilities dropped, but for these"
    );
}

/// Waits until the sender is dropped.
fn told(stopped: &watch::Receiver<()>) -> impl Future<Output = ()> + use<> {
    let mut stopped = stopped.clone();
    async move { while stopped.changed().await.is_ok() {} }
}

fn interfaces(config: &Config) -> String {
    if config.interfaces.is_empty() {
        "auto".to_owned()
    } else {
        config.interfaces.join(",")
    }
}

fn log_hooks(source: &dyn Source) {
    let hooks = match source.snapshot() {
        Ok(snapshot) => snapshot.hooks,
        Err(e) => return tracing::warn!(cause = format!("{e:#}"), "cannot read the counters"),
    };
    for HookStatus {
        hook,
        mode,
        attached,
        detail,
    } in hooks
    {
        let detail = Some(detail).filter(|detail| !detail.is_empty());
        if attached {
            tracing::info!(hook, mode, detail, "hook attached");
        } else {
            tracing::warn!(hook, mode, detail, "hook absent");
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal;

    use super::*;
    use tracer_common::failure::Record;

    use crate::{
        config::{self, Socket},
        snapshot::{Failures, Snapshot},
    };

    struct Empty;

    impl Source for Empty {
        fn snapshot(&self) -> anyhow::Result<Snapshot> {
            anyhow::bail!("nothing to read")
        }

        fn failures(&self) -> anyhow::Result<Failures> {
            Ok(Failures::default())
        }

        fn records(&self) -> Vec<Record> {
            Vec::new()
        }

        fn port_at(&self, _slot: u16) -> Option<u16> {
            None
        }

        fn set_services(
            &self,
            _: &[u16],
            _: &std::collections::BTreeSet<std::net::IpAddr>,
        ) -> anyhow::Result<()> {
            Ok(())
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
    }

    fn config(address: &str) -> Config {
        let mut config =
            Config::new(config::Settings::default(), config::Settings::default()).unwrap();
        config.listen = address.parse().unwrap();
        config.socket = Socket::Off;
        config
    }

    fn settings() -> Settings {
        Settings {
            file: None,
            read: Arc::new(|| panic!("nobody asked for it")),
        }
    }

    #[tokio::test]
    async fn a_signal_during_loading_stops_in_order_and_drops_the_source() {
        let mut loaded = std::sync::Weak::<Empty>::new();
        let (config, settings) = (config("127.0.0.1:0"), settings());
        let ended = daemon(&config, &settings, |_| {
            signal::raise(signal::SIGTERM).unwrap();
            let source = Arc::new(Empty);
            loaded = Arc::downgrade(&source);
            Ok(source)
        });
        assert_eq!(ended.await, Ok(()));
        assert!(loaded.upgrade().is_none());
    }

    #[tokio::test]
    async fn a_taken_port_is_reported_before_anything_is_loaded() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let (config, settings) = (config(&address), settings());
        let ended = daemon(&config, &settings, |_| panic!("loaded"));
        let exit = ended.await.unwrap_err();
        assert!(
            exit.to_string()
                .starts_with(&format!("listen on {address}: address in use;"))
        );
    }
}
