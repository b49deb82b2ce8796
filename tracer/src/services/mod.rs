//! What watched ports and the pods behind them are called. Names come and go;
//! no count depends on them.

mod file;
mod follow;
mod name;
mod table;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

pub use table::Table;

use crate::{
    config::{Config, PortSet},
    exit::Exit,
};
use follow::Follow;

/// The names that are known at this moment; clones share them. The last one
/// dropped ends what keeps them up to date.
#[derive(Clone, Debug, Default)]
pub struct Services {
    shared: Arc<Shared>,
    _follow: Option<Arc<Follow>>,
}

/// The table in use, which is replaced as a whole: who has taken it may keep it
/// for as long as it likes, and never sees half a change.
#[derive(Debug, Default)]
struct Shared {
    table: RwLock<Arc<Table>>,
    sources: Mutex<Sources>,
    watched: PortSet,
}

/// What each source says now.
#[derive(Debug, Default)]
struct Sources {
    file: Arc<Table>,
}

impl Services {
    /// Reads the names that `config` points to and follows their changes.
    ///
    /// # Errors
    /// When the file of names cannot be read or is wrong.
    pub fn start(config: &Config) -> Result<Self, Exit> {
        let shared = Arc::new(Shared {
            watched: config.ports.clone(),
            ..Shared::default()
        });
        let Some(path) = &config.services else {
            return Ok(Self {
                shared,
                _follow: None,
            });
        };
        shared.set_file(file::read(path)?);
        let follow = Follow::start(path, Arc::clone(&shared));
        let follow = follow.map_err(|e| Exit::runtime("start a thread", e))?;
        Ok(Self {
            shared,
            _follow: Some(Arc::new(follow)),
        })
    }

    /// The names of a file as they are now; without one, none.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong.
    pub fn once(path: Option<&Path>, watched: &PortSet) -> Result<Arc<Table>, Exit> {
        let table = path.map(file::read).transpose()?.unwrap_or_default();
        Ok(Arc::new(table.only(watched)))
    }

    /// The names as they are now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        let table = self.shared.table.read();
        Arc::clone(&table.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Takes what the file says; whether that is something new.
    fn set_file(&self, table: Table) -> bool {
        let table = Arc::new(table.only(&self.watched));
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.file == table {
            return false;
        }
        sources.file = table;
        let mut shown = self.table.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Arc::clone(&sources.file);
        true
    }
}

#[cfg(test)]
mod tests;
