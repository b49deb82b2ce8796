//! A token in a file, which is read again: those of service accounts end after an hour.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hyper::header::HeaderValue;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    exit::Exit,
    files::{self, LARGEST},
};

/// Time between two reads. A kubelet renews a token when a fifth of its life is left.
const AGAIN: Duration = Duration::from_secs(30);

/// The token, as of its last reading.
#[derive(Debug)]
pub(super) struct Token {
    path: PathBuf,
    header: Mutex<HeaderValue>,
}

impl Token {
    /// # Errors
    /// When the file cannot be read, or has no token.
    pub(super) fn read(path: PathBuf) -> Result<Self, Exit> {
        let header = Mutex::new(header(&path)?);
        Ok(Self { path, header })
    }

    /// The header `Authorization` with it.
    pub(super) fn header(&self) -> HeaderValue {
        let header = self.header.lock();
        header.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads it again and again, for ever; one that cannot be read stays as it was, which is told
    /// once.
    pub(super) async fn follow(&self) {
        let mut told = false;
        loop {
            sleep(AGAIN).await;
            let path = self.path.clone();
            match spawn_blocking(move || header(&path)).await {
                Ok(Ok(new)) => {
                    *self.header.lock().unwrap_or_else(PoisonError::into_inner) = new;
                    told = false;
                }
                Ok(Err(e)) if !told => {
                    told = true;
                    tracing::warn!(cause = %e, "the token for Kubernetes stays as it was");
                }
                _ => {}
            }
        }
    }
}

fn header(path: &Path) -> Result<HeaderValue, Exit> {
    let token = files::read_text(path, LARGEST).map_err(|e| e.exit(path, "--kubeconfig"))?;
    let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
    let mut header = header.map_err(|_| {
        Exit::config(format!("read {}", path.display()), "it is no token")
            .remedy("check the kubeconfig's tokenFile")
    })?;
    header.set_sensitive(true);
    Ok(header)
}
