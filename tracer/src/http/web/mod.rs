//! TLS, users and limits of the HTTP server, by a file in the format of
//! Prometheus' exporter-toolkit. As there, the file and those that it names are
//! read again for each connection and request, so that a new certificate or
//! password needs no restart; while a file is wrong, nobody is served.

mod bucket;
mod clients;
mod format;
mod names;
mod queue;
mod tls;
mod users;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use self::{
    bucket::Bucket,
    format::Settings,
    tls::Pem,
    users::{Users, Verdict},
};
use super::listen::Peer;
use crate::{
    exit::Exit,
    files::{self, LARGEST},
    privileges,
};

/// The file, as of its last reading.
#[derive(Clone)]
pub struct Web(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// As in exporter-toolkit, whether there is TLS is not changed while running.
    secure: bool,
    /// There were users at the start: a file that has none, such as one that is just
    /// being written, does not let everybody in.
    guarded: bool,
    /// Nor is the rate.
    bucket: Option<Bucket>,
    users: Users,
    last: Mutex<Last>,
    /// The last reading was good.
    good: AtomicBool,
}

/// What was read, and what it means: while the bytes stay, so does the rest.
#[derive(Default)]
struct Last {
    settings: Option<(Vec<u8>, Arc<Settings>)>,
    server: Option<(Pem, Arc<ServerConfig>)>,
}

impl Last {
    fn settings(&mut self, path: &Path) -> Result<Arc<Settings>, String> {
        let bytes = files::read(path, LARGEST);
        let bytes = bytes.map_err(|e| format!("read it: {}", tls::told(&e)))?;
        if let Some((known, settings)) = &self.settings
            && *known == bytes
        {
            return Ok(Arc::clone(settings));
        }
        let text = files::text(bytes.clone()).map_err(|e| e.to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let settings = Arc::new(format::parse(&text, folder)?);
        *self = Self {
            settings: Some((bytes, Arc::clone(&settings))),
            server: None,
        };
        Ok(settings)
    }

    /// `None` without TLS.
    fn server(&mut self, path: &Path) -> Result<Option<Arc<ServerConfig>>, String> {
        let settings = self.settings(path)?;
        let Some(tls) = &settings.tls else {
            return Ok(None);
        };
        let pem = tls.pem()?;
        if let Some((known, server)) = &self.server
            && *known == pem
        {
            return Ok(Some(Arc::clone(server)));
        }
        let server = tls.server(&pem);
        let server = Arc::new(server.map_err(|e| format!("tls_server_config: {e}"))?);
        self.server = Some((pem, Arc::clone(&server)));
        Ok(Some(server))
    }
}

impl Web {
    /// Reads the file and all that it names.
    ///
    /// # Errors
    /// [`crate::exit::Code::Config`] with what is wrong, and where;
    /// [`crate::exit::Code::Runtime`] when a file system does not answer.
    pub fn open(path: &Path) -> Result<Self, Exit> {
        let bad = |cause: String| {
            Exit::config(format!("web config file {}", path.display()), cause)
                .remedy("docs/web-config.md says what may stand in it")
        };
        let mut last = Last::default();
        answers(path)?;
        let settings = last.settings(path).map_err(bad)?;
        let tls = settings.tls.iter();
        tls.flat_map(tls::Tls::files).try_for_each(answers)?;
        let secure = last.server(path).map_err(bad)?.is_some();
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            secure,
            guarded: !settings.users.is_empty(),
            bucket: settings.rate.map(Bucket::new),
            users: Users::new().map_err(bad)?,
            last: last.into(),
            good: true.into(),
        })))
    }

    /// Whether connections begin with TLS.
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// Where its files lie.
    pub fn folders(&self) -> Vec<PathBuf> {
        let settings = self.0.last().settings.as_ref().map(|last| last.1.clone());
        let tls = settings.as_ref().and_then(|settings| settings.tls.as_ref());
        let named = tls.into_iter().flat_map(tls::Tls::files);
        let files = std::iter::once(self.0.path.as_path()).chain(named);
        files.flat_map(privileges::folders).collect()
    }

    /// Says what is in force.
    pub fn log(&self) {
        let settings = self.0.last().settings.as_ref().map(|last| last.1.clone());
        let Some(settings) = settings else { return };
        let (path, tls) = (self.0.path.display(), self.0.secure);
        let users = settings.users.len();
        tracing::info!(%path, tls, users, "web config");
        if settings.http2 && tls {
            tracing::info!("HTTP/2 is not offered; clients use HTTP/1.1");
        }
    }

    /// Puts the file's demands before every page of `router`.
    pub fn guard(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), guard))
    }

    /// Makes a connection one by TLS.
    ///
    /// # Errors
    /// When the file is wrong, or the client has failed.
    pub async fn handshake<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Default::default(), stream).await?;
        let server = self.now(Inner::server).await.map_err(io::Error::other)?;
        hello.into_stream(server).await
    }

    /// What the files say at this moment.
    async fn now<T: Send + 'static>(
        &self,
        look: fn(&Inner) -> Result<T, String>,
    ) -> Result<T, String> {
        let web = self.clone();
        let looked = spawn_blocking(move || {
            let found = look(&web.0);
            web.0.note(found.as_ref().err());
            found
        });
        looked.await.unwrap_or_else(|e| Err(e.to_string()))
    }
}

impl Inner {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Result<Arc<Settings>, String> {
        let settings = self.last().settings(&self.path)?;
        if self.secure && settings.tls.is_none() {
            return Err("tls_server_config is gone: restart tracer to do without TLS".into());
        }
        if self.guarded && settings.users.is_empty() {
            return Err("basic_auth_users are gone: restart tracer to do without".into());
        }
        Ok(settings)
    }

    fn server(&self) -> Result<Arc<ServerConfig>, String> {
        self.settings()?;
        let server = self.last().server(&self.path)?;
        server.ok_or_else(|| "no TLS".into())
    }

    /// Tells of a change from good to bad or back, once.
    fn note(&self, wrong: Option<&String>) {
        let was_good = self.good.swap(wrong.is_none(), Ordering::Relaxed);
        let path = self.path.display();
        match wrong {
            Some(cause) if was_good => {
                tracing::error!(%path, cause, "web config is wrong: nobody is served");
            }
            None if !was_good => tracing::info!(%path, "web config is right again"),
            _ => {}
        }
    }
}

/// Whether the file system of a file does; what else is wrong with it is not for here.
fn answers(path: &Path) -> Result<(), Exit> {
    match files::read(path, LARGEST) {
        Err(e) if e.is_late() => Err(e.exit(path, "--web.config.file")),
        _ => Ok(()),
    }
}

fn refuse(status: StatusCode) -> Response {
    let why = status.canonical_reason().unwrap_or_default();
    (status, format!("{why}\n")).into_response()
}

async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let Ok(settings) = web.now(Inner::settings).await else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR);
    };
    if web.0.bucket.as_ref().is_some_and(|bucket| !bucket.take()) {
        return refuse(StatusCode::TOO_MANY_REQUESTS);
    }
    let verdict = if settings.users.is_empty() {
        Verdict::Right
    } else {
        let users = &web.0.users;
        let client = request.extensions().get().map(|Peer(address)| *address);
        users
            .judge(&settings.users, request.headers(), client)
            .await
    };
    let mut response = match verdict {
        Verdict::Right => next.run(request).await,
        Verdict::Wrong => {
            let asks = [(header::WWW_AUTHENTICATE, "Basic realm=\"tracer\"")];
            (asks, refuse(StatusCode::UNAUTHORIZED)).into_response()
        }
        Verdict::Later => {
            let later = [(header::RETRY_AFTER, "1")];
            (later, refuse(StatusCode::SERVICE_UNAVAILABLE)).into_response()
        }
    };
    let headers = settings.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.clone()));
    response.headers_mut().extend(headers);
    response
}

#[cfg(test)]
mod tests;
