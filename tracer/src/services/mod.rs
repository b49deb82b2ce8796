//! What watched ports and the pods behind them are called. Names come and go;
//! no count depends on them.

mod empty;
mod endpoints;
mod file;
mod follow;
mod kubernetes;
mod name;
mod table;
mod tenants;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

#[cfg(test)]
pub use endpoints::Listed;
pub use endpoints::Set as Endpoints;
pub use kubernetes::Health;
pub use table::{Pod, Table};
pub use tenants::Tenancy;

use crate::{
    config::{Config, HealthCheckGate, PortSet},
    exit::Exit,
};
use follow::Follow;
use kubernetes::Kubernetes;

/// The names that are known at this moment; clones share them. The last one
/// dropped ends what keeps them up to date.
#[derive(Clone, Debug, Default)]
pub struct Services {
    shared: Arc<Shared>,
    _threads: Arc<Threads>,
}

/// What keeps the names up to date.
#[derive(Debug, Default)]
struct Threads {
    _file: Option<Follow>,
    _kubernetes: Option<Kubernetes>,
}

/// The table in use, which is replaced as a whole: who has taken it may keep it
/// for as long as it likes, and never sees half a change.
#[derive(Debug, Default)]
struct Shared {
    table: RwLock<Arc<Table>>,
    sources: Mutex<Sources>,
    watched: PortSet,
    /// Where health checks go is taken into account.
    gate: HealthCheckGate,
    /// How Kubernetes' watches fare; `None`: there are none.
    health: Option<Arc<Health>>,
}

/// What each source says now.
#[derive(Debug, Default)]
struct Sources {
    file: Arc<Table>,
    kubernetes: Arc<Table>,
}

/// How long a thread that was told to end is waited for.
const ENDING: Duration = Duration::from_millis(500);

/// Waits for the end of a thread that was told to end; one that hangs in a file system is left
/// behind.
fn end(thread: JoinHandle<()>) {
    let until = Instant::now() + ENDING;
    while !thread.is_finished() && Instant::now() < until {
        sleep(Duration::from_millis(2));
    }
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if !thread.is_finished() {
        tracing::warn!(thread = name, "a thread hangs, and is not waited for");
    } else if thread.join().is_err() {
        tracing::error!(thread = name, "a thread panicked");
    }
}

impl Services {
    /// Reads the names that `config` points to and follows their changes. What
    /// Kubernetes says comes later, if at all.
    ///
    /// # Errors
    /// When the file of names cannot be read or is wrong, or there is no way to a
    /// Kubernetes API that is asked for.
    pub fn start(config: &Config) -> Result<Self, Exit> {
        let access = kubernetes::access(config)?;
        let shared = Arc::new(Shared {
            health: access.is_some().then(Arc::default),
            ..Shared::new(config)
        });
        let mut threads = Threads::default();
        if let Some(path) = &config.services {
            shared.set_file(file::read(path)?);
            let follow = Follow::start(path, Arc::clone(&shared));
            threads._file = Some(follow.map_err(|e| Exit::runtime("start a thread", e))?);
        }
        if let Some(access) = access {
            threads._kubernetes = Some(Kubernetes::start(access, &shared)?);
        }
        Ok(Self {
            shared,
            _threads: Arc::new(threads),
        })
    }

    /// Tries what [`Services::start`] needs: the file of names, and the way to the API, which is
    /// not asked.
    ///
    /// # Errors
    /// As there.
    pub fn check(config: &Config) -> Result<(), Exit> {
        if let Some(path) = &config.services {
            file::read(path)?;
        }
        match kubernetes::access(config)? {
            Some(access) => access.check(),
            None => Ok(()),
        }
    }

    /// The names of a file as they are now; without one, none.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong.
    pub fn once(config: &Config) -> Result<Arc<Table>, Exit> {
        let shared = Shared::new(config);
        if let Some(path) = &config.services {
            shared.set_file(file::read(path)?);
        }
        let table = shared.table.into_inner();
        Ok(table.unwrap_or_else(PoisonError::into_inner))
    }

    /// These names, for ever.
    #[cfg(test)]
    pub fn with(names: Table) -> Self {
        let shared = Shared::default();
        *shared.table.write().unwrap() = names.into();
        let shared = Arc::new(shared);
        Self {
            shared,
            ..Self::default()
        }
    }

    /// The names as they are now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        let table = self.shared.table.read();
        Arc::clone(&table.unwrap_or_else(PoisonError::into_inner))
    }

    /// How Kubernetes' watches fare; `None`: there are none.
    #[must_use]
    pub fn health(&self) -> Option<Arc<Health>> {
        self.shared.health.clone()
    }
}

impl Shared {
    /// Without any names.
    fn new(config: &Config) -> Self {
        Self {
            watched: config.ports.clone(),
            gate: config.health_check_gate,
            ..Self::default()
        }
    }

    /// Takes what the file says; whether that is something new.
    fn set_file(&self, table: Table) -> bool {
        self.set(table, |sources| &mut sources.file)
    }

    /// Takes what Kubernetes says; whether that is something new.
    fn set_kubernetes(&self, table: Table) -> bool {
        self.set(table, |sources| &mut sources.kubernetes)
    }

    fn set(&self, table: Table, source: fn(&mut Sources) -> &mut Arc<Table>) -> bool {
        let mut table = table.only(&self.watched);
        if self.gate == HealthCheckGate::Off {
            table.forget_checks();
        }
        let table = Arc::new(table);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let place = source(&mut sources);
        if *place == table {
            return false;
        }
        *place = table;
        let all = sources.all();
        let mut shown = self.table.write().unwrap_or_else(PoisonError::into_inner);
        *shown = all;
        true
    }
}

impl Sources {
    /// What the file says stands before what Kubernetes says.
    fn all(&self) -> Arc<Table> {
        if self.file.is_empty() {
            return Arc::clone(&self.kubernetes);
        }
        Arc::new(Table::clone(&self.file).or(&self.kubernetes))
    }
}

#[cfg(test)]
mod tests;
