//! The API on the unix socket, for `tracer explain`, `tracer events` and `tracer top`.

pub mod client;
mod query;
mod socket;
mod stream;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};

use self::query::{EventsQuery, ExplainQuery};
pub use self::socket::bind;
use crate::{
    http::Limits,
    recorder::Recorder,
    report::{Condition, Refusal},
};

/// What clients may take. Who follows stays for as long as it reads.
pub const LIMITS: Limits = Limits {
    connections: 32,
    head: Duration::from_secs(10),
    write: Duration::from_secs(30),
    age: Duration::MAX,
    grace: Duration::from_secs(1),
    stop: Duration::from_secs(1),
    // It is root's.
    paced: false,
};
/// Answers that may be made, or be on their way, at once.
const ANSWERS: usize = 4;
/// Clients that may follow at once.
const FOLLOWERS: usize = 16;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Api {
    recorder: Recorder,
    answers: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
}

/// The API over a recorder; those who follow are let go when `stopped` is told
/// anything, or its sender is dropped.
pub fn router(recorder: Recorder, stopped: watch::Receiver<()>) -> Router {
    let api = Api {
        recorder,
        answers: Arc::new(Semaphore::new(ANSWERS)),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        stopped,
    };
    Router::new()
        .route("/v1/explain", get(explain))
        .route("/v1/events", get(events))
        .route("/v1/top", get(top))
        .route("/v1/status", get(status))
        .route("/v1/condition", get(condition))
        .fallback(async || {
            let known = "no such page; there are /v1/explain, /v1/events, /v1/top, /v1/status and \
                         /v1/condition";
            refuse(StatusCode::NOT_FOUND, known)
        })
        .method_not_allowed_fallback(async || {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood")
        })
        .with_state(api)
}

fn refuse(status: StatusCode, error: impl ToString) -> Response {
    let error = error.to_string();
    json(status, &Refusal { error })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let about = [(header::CONTENT_TYPE, "application/json")];
            (status, about, body).into_response()
        }
        Err(e) => {
            tracing::warn!(cause = %e, "cannot write an answer");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Waits for a turn.
async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Response> {
    let turn = timeout(PATIENCE, Arc::clone(turns).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many ask at once; ask again later",
        )
    })
}

async fn explain(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let watched = |port| api.recorder.watches(port);
    let asked = ExplainQuery::parse(query.as_deref().unwrap_or(""), watched);
    let asked = asked.map_err(|e| refuse(StatusCode::BAD_REQUEST, e))?;
    let _turn = turn(&api.answers).await?;
    let made = spawn_blocking(move || api.recorder.explain(asked.last, &asked.ports)).await;
    match made.unwrap_or_else(|e| Err(e.into())) {
        Ok(explanation) => Ok(json(StatusCode::OK, &explanation)),
        Err(e) => {
            tracing::warn!(cause = format!("{e:#}"), "explain failed");
            let error = format!("{e:#}");
            Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, error))
        }
    }
}

async fn events(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let watched = |port| api.recorder.watches(port);
    let asked = EventsQuery::parse(query.as_deref().unwrap_or(""), watched);
    let asked = asked.map_err(|e| refuse(StatusCode::BAD_REQUEST, e))?;
    let turns = if asked.follow {
        &api.followers
    } else {
        &api.answers
    };
    let turn = turn(turns).await?;
    let made = spawn_blocking(move || api.recorder.remembered_and_new(&asked.filter)).await;
    let (remembered, follower) = made.map_err(|e| refuse(StatusCode::INTERNAL_SERVER_ERROR, e))?;
    let follower = asked.follow.then_some((follower, api.stopped));
    let lines = stream::lines(remembered, follower, turn);
    let about = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((about, Body::from_stream(lines)).into_response())
}

async fn top(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let watched = |port| api.recorder.watches(port);
    let asked = query::top(query.as_deref().unwrap_or(""), watched);
    let asked = asked.map_err(|e| refuse(StatusCode::BAD_REQUEST, e))?;
    let _turn = turn(&api.answers).await?;
    let made = spawn_blocking(move || api.recorder.top(&asked)).await;
    match made.unwrap_or_else(|e| Err(e.into())) {
        Ok(top) => Ok(json(StatusCode::OK, &top)),
        Err(e) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("{e:#}"))),
    }
}

async fn status(State(api): State<Api>) -> Result<Response, Response> {
    let made = spawn_blocking(move || api.recorder.status()).await;
    let status = made.map_err(|e| refuse(StatusCode::INTERNAL_SERVER_ERROR, e))?;
    Ok(json(StatusCode::OK, &status))
}

async fn condition(State(api): State<Api>) -> Response {
    let cause = api.recorder.ready().err();
    let ready = cause.is_none();
    json(StatusCode::OK, &Condition { ready, cause })
}

#[cfg(test)]
mod tests;
