//! The HTTP pages: metrics, liveness, readiness.

mod accept;
mod listen;
mod pace;
mod page;
mod server;
mod web;

use std::{fmt::Write as _, sync::Arc};

use crate::{build_info, recorder::Recorder};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use self::page::{Pages, Refused};
pub use listen::bind;
pub use server::{Limits, serve};
pub use web::Web;

#[derive(Clone)]
struct App {
    recorder: Recorder,
    pages: Arc<Pages>,
    telemetry_path: Arc<str>,
}

/// The pages over a recorder.
pub fn router(recorder: Recorder, telemetry_path: &str) -> Router {
    let app = App {
        recorder,
        pages: Arc::new(Pages::new()),
        telemetry_path: telemetry_path.into(),
    };
    Router::new()
        .route("/", get(index))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route(telemetry_path, get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "no such page; see /\n"))
        .with_state(app)
}

async fn index(State(app): State<App>) -> Html<String> {
    let mut links = String::new();
    for path in [&*app.telemetry_path, "/livez", "/readyz"] {
        let _ = writeln!(links, "<li><a href=\"{path}\">{path}</a></li>");
    }
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tracer</title></head>\n\
         <body><h1>tracer {}</h1><ul>\n{links}</ul></body></html>\n",
        build_info::VERSION
    ))
}

async fn readyz(State(app): State<App>) -> Response {
    match app.recorder.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        )
            .into_response(),
    }
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str())
        .collect();
    let format = accept::negotiate(&accept.join(","));
    match app.pages.page(&app.recorder, format).await {
        Ok(body) => {
            let about = [
                (header::CONTENT_TYPE, format.content_type()),
                (header::VARY, "Accept"),
            ];
            (about, body).into_response()
        }
        Err(Refused::Busy) => {
            let later = [(header::RETRY_AFTER, "1")];
            let what = "too many scrapes at once\n";
            (StatusCode::SERVICE_UNAVAILABLE, later, what).into_response()
        }
        Err(Refused::Failed(e)) => {
            let cause = format!("{:#}", e.context("read the counters"));
            tracing::warn!(cause, "scrape failed");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
