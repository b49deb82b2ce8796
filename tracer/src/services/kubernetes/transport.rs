//! Bounds on what the API may answer: a list comes whole, within a time and a
//! size; a watch begins within that time, and begins anew beyond that size.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{Request, Response, body::Body, header::AUTHORIZATION};
use kube::client::Body as Sent;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, layer::layer_fn};

use super::{
    health::{Health, Resource},
    paging::{Endless, Paging},
    token::Token,
};

/// Longest time until a list is here, or a watch has begun.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer, in bytes. A page of the list is far below that.
pub(super) const LARGEST: usize = 16 << 20;

/// The answer did not come in time.
#[derive(Debug)]
pub(super) struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {} s", PATIENCE.as_secs())
    }
}

impl StdError for Late {}

type Failure = Box<dyn StdError + Send + Sync>;

/// A service with these bounds.
#[derive(Clone, Debug)]
pub(super) struct Transport<S> {
    inner: S,
    health: Arc<Health>,
    token: Option<Arc<Token>>,
    lists: Arc<Mutex<[Paging; Resource::COUNT]>>,
    patience: Duration,
}

impl Transport<()> {
    /// Puts the bounds around a service, and a token that is in a file into its requests; tells
    /// when a watch has begun.
    pub(super) fn layer<S>(
        health: &Arc<Health>,
        token: Option<Arc<Token>>,
    ) -> impl Layer<S, Service = Transport<S>> + use<S> {
        let health = Arc::clone(health);
        layer_fn(move |inner| Transport {
            inner,
            health: Arc::clone(&health),
            token: token.clone(),
            lists: Arc::default(),
            patience: PATIENCE,
        })
    }
}

impl<S> Transport<S> {
    /// How long to wait before this page of a list is asked for.
    fn pause(&self, request: &Request<Sent>) -> Result<Duration, Endless> {
        let Some((resource, Asked::Page(token))) = asked(request) else {
            return Ok(Duration::ZERO);
        };
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        match lists.get_mut(resource as usize) {
            Some(list) => list.next(token),
            None => Ok(Duration::ZERO),
        }
    }
}

impl<S, B> Service<Request<Sent>> for Transport<S>
where
    S: Service<Request<Sent>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Failure>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Failure>,
{
    type Response = Response<Either<Full<Bytes>, Limited<B>>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Sent>) -> Self::Future {
        let watched = match asked(&request) {
            Some((resource, Asked::Watch)) => Some(resource),
            _ => None,
        };
        let pause = self.pause(&request);
        let health = Arc::clone(&self.health);
        let patience = self.patience;
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        // It does nothing until it is waited for.
        let answer = self.inner.call(request);
        Box::pin(async move {
            sleep(pause?).await;
            let answered = async {
                let answer = answer.await.map_err(Into::into)?;
                let good = answer.status().is_success();
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, LARGEST);
                let body = match watched {
                    Some(resource) if good => {
                        health.watching(resource);
                        Either::Right(body)
                    }
                    _ => Either::Left(Full::new(body.collect().await?.to_bytes())),
                };
                Ok(Response::from_parts(head, body))
            };
            timeout(patience, answered)
                .await
                .unwrap_or_else(|_| Err(Late.into()))
        })
    }
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    /// Changes.
    Watch,
    /// A page of a list: the one of this name, or the first.
    Page(Option<&'a str>),
}

/// What the request is about, and wants.
fn asked<B>(request: &Request<B>) -> Option<(Resource, Asked<'_>)> {
    let uri = request.uri();
    let resource = [Resource::Services, Resource::Slices]
        .into_iter()
        .find(|resource| uri.path().ends_with(resource.plural()))?;
    let mut parts = uri.query().unwrap_or_default().split('&');
    let asked = if parts.clone().any(|part| part == "watch=true") {
        Asked::Watch
    } else {
        Asked::Page(parts.find_map(|part| part.strip_prefix("continue=")))
    };
    Some((resource, asked))
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_not_waited_for() {
        let never = service_fn(|_: Request<Sent>| async {
            std::future::pending::<()>().await;
            Ok::<_, Failure>(Response::new(Full::<Bytes>::default()))
        });
        let mut bounded = Transport::layer(&Arc::default(), None).layer(never);
        let asked = bounded.call(Request::new(Sent::empty())).await;
        assert!(asked.is_err_and(|e| e.is::<Late>()));
    }

    #[test]
    fn watches_are_told_from_lists() {
        let of = |uri: &'static str| {
            let request = Request::get(uri).body(()).unwrap();
            asked(&request).map(|(resource, asked)| (resource, format!("{asked:?}")))
        };
        let slices = "/apis/discovery.k8s.io/v1/endpointslices?&watch=true&timeoutSeconds=240";
        let watch = |resource| Some((resource, "Watch".to_owned()));
        let page = |token: &str| Some((Resource::Services, format!("Page({token})")));
        assert_eq!(of(slices), watch(Resource::Slices));
        assert_eq!(
            of("/api/v1/services?&watch=true"),
            watch(Resource::Services)
        );
        assert_eq!(of("/api/v1/services?&limit=100"), page("None"));
        assert_eq!(of("/api/v1/services"), page("None"));
        let next = "/api/v1/services?&limit=100&continue=ab";
        assert_eq!(of(next), page("Some(\"ab\")"));
        assert_eq!(of("/api/v1/pods?watch=true"), None);
    }
}
