//! The listener and its connections, all bounded in number, size and time.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http_body_util::BodyExt as _;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

use super::{
    Web,
    listen::{Listener, Peer},
    pace::Paces,
};

/// What one client, and all clients together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more take the place of those that say nothing, or
    /// wait in the kernel's accept queue while all are being answered.
    pub connections: usize,
    /// Time from the start of a connection, or the last answer, until the next
    /// request's head is complete.
    pub head: Duration,
    /// Time that a client may take no byte of an answer; a page stays in memory
    /// that long.
    pub write: Duration,
    /// Age at which a connection is asked to end.
    pub age: Duration,
    /// Time for the running answer from then on.
    pub grace: Duration,
    /// The same for all connections when the server stops.
    pub stop: Duration,
    /// Requests are taken on no faster than a share of a CPU allows.
    pub paced: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head: Duration::from_secs(10),
            write: Duration::from_secs(3),
            age: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            stop: Duration::from_secs(1),
            paced: true,
        }
    }
}

/// Bytes of a request's head, and of what is buffered for a connection.
const BUFFER: usize = 16 * 1024;

/// Serves until `stop`; running answers then have [`Limits::stop`] to end. `web`:
/// connections begin with TLS.
pub async fn serve(
    listener: impl Listener,
    router: Router,
    web: Option<Web>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let mut places = Places::new(limits.connections);
    let pace = limits.paced.then(|| Arc::new(Paces::new()));
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let has_room = places.has_room();
        let (stream, peer) = tokio::select! {
            next = next(&listener), if has_room => match next {
                Some(next) => next,
                None => continue,
            },
            // Nothing but forgetting those that have ended.
            Some(_) = connections.join_next() => continue,
            () = sleep(LOOK_AGAIN), if !has_room => continue,
            () = &mut stop => break,
        };
        let answering = Arc::<AtomicBool>::default();
        let pages = Pages {
            router: router.clone(),
            peer,
            limits,
            pace: pace.clone(),
            answering: Arc::clone(&answering),
            stopped: stopped.clone(),
        };
        let served = connection(stream, web.clone(), pages);
        places.take(answering, connections.spawn(served));
    }
    drop((listener, router, stopping));
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.stop, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// How long all places may be in use by answers before it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Who is being served. When all places are taken, a newcomer gets that of the
/// one who has said nothing for longest: clients that only hold connections keep
/// nobody out.
struct Places {
    most: usize,
    /// Whether an answer is being made or sent, and the connection.
    taken: Vec<(Arc<AtomicBool>, AbortHandle)>,
}

impl Places {
    fn new(most: usize) -> Self {
        let taken = Vec::new();
        Self { most, taken }
    }

    fn silent(&self) -> Option<usize> {
        let silent = |(answering, _): &(Arc<AtomicBool>, _)| !answering.load(Ordering::Relaxed);
        self.taken.iter().position(silent)
    }

    fn has_room(&mut self) -> bool {
        self.taken
            .retain(|(_, connection)| !connection.is_finished());
        self.taken.len() < self.most || self.silent().is_some()
    }

    fn take(&mut self, answering: Arc<AtomicBool>, connection: AbortHandle) {
        if self.taken.len() >= self.most
            && let Some(silent) = self.silent()
        {
            self.taken.remove(silent).1.abort();
        }
        self.taken.push((answering, connection));
    }
}

/// The next connection.
async fn next<L: Listener>(listener: &L) -> Option<(L::Stream, Option<Peer>)> {
    match listener.accept().await {
        Ok(next) => Some(next),
        Err(e) => {
            tracing::debug!(cause = %e, "accept failed");
            // Out of file descriptors does not pass by asking again at once.
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// True from a request's head to the end of its answer.
struct Answering(Arc<AtomicBool>);

impl Answering {
    fn begin(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(Arc::clone(flag))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What a connection gets to see, and how long.
struct Pages {
    router: Router,
    peer: Option<Peer>,
    limits: Limits,
    pace: Option<Arc<Paces>>,
    answering: Arc<AtomicBool>,
    stopped: watch::Receiver<()>,
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    web: Option<Web>,
    mut pages: Pages,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(pages.limits.write));
    let stream = Box::pin(stream);
    let Some(web) = web else {
        return pages.serve(stream).await;
    };
    let handshake = async {
        if let Some(pace) = &pages.pace {
            pace.handshake().await;
        }
        web.handshake(stream).await
    };
    let handshake = timeout(pages.limits.head, handshake);
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        _ = pages.stopped.changed() => return,
    };
    match shaken {
        Ok(Ok(stream)) => pages.serve(stream).await,
        Ok(Err(e)) => tracing::debug!(cause = %e, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

impl Pages {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            router,
            peer,
            limits,
            pace,
            answering,
            mut stopped,
        } = self;
        let router = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let answering = Answering::begin(&answering);
            let (router, pace) = (router.clone(), pace.clone());
            async move {
                if let Some(pace) = pace {
                    pace.request(request.uri().path()).await;
                }
                let answer = router.call(request);
                let kept = move |body: Body| {
                    Body::new(body.map_frame(move |frame| {
                        let _ = &answering;
                        frame
                    }))
                };
                answer.await.map(|answer| answer.map(kept))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = sleep(limits.age) => None,
            // The sender is dropped when the server stops.
            _ = stopped.changed() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(limits.grace, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(e) = ended {
            tracing::debug!(cause = %e, "connection ended");
        }
    }
}
