//! Bounds on what the API may answer: a list comes whole, within a time and a
//! size; a watch begins within that time, and begins anew beyond that size.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{Request, Response, body::Body, header::AUTHORIZATION};
use kube::client::Body as Sent;
use tokio::time::timeout;
use tower::{Layer, Service, layer::layer_fn};

use super::{
    health::{Health, Resource},
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
            patience: PATIENCE,
        })
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
        let watched = watched(&request);
        let health = Arc::clone(&self.health);
        let patience = self.patience;
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
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

/// What the request wants to watch, if anything.
fn watched<B>(request: &Request<B>) -> Option<Resource> {
    let uri = request.uri();
    let mut parts = uri.query().unwrap_or_default().split('&');
    if !parts.any(|part| part == "watch=true") {
        return None;
    }
    [Resource::Services, Resource::Slices]
        .into_iter()
        .find(|resource| uri.path().ends_with(resource.plural()))
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
        let of = |uri: &str| watched(&Request::get(uri).body(()).unwrap());
        let slices = "/apis/discovery.k8s.io/v1/endpointslices?&watch=true&timeoutSeconds=240";
        assert_eq!(of(slices), Some(Resource::Slices));
        assert_eq!(of("/api/v1/services?&watch=true"), Some(Resource::Services));
        assert_eq!(of("/api/v1/services?&limit=100"), None);
        assert_eq!(of("/api/v1/services"), None);
    }
}
