//! The webhook's URLs.
//!
//! Both ports serve `/healthz`, `/readyz` and `/metrics`; `/inject` is on the encrypted one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::admit::{self, Outcome, Verdict};
use super::parameters::{self, Parameters};
use super::review::{self, Malformed};
use super::{State, metrics};
use crate::{Cluster, Settings};

/// Largest review (contract 3.3).
pub const LARGEST_BODY: usize = 6 << 20;
/// Time for a body to arrive, from the end of the head.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// Probes and metrics.
pub fn observation(state: Arc<State>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .with_state(state)
}

/// The webhook, with probes and metrics.
pub fn webhook(state: Arc<State>) -> Router {
    let inject = Router::new()
        .route("/inject", post(inject_plainly))
        .route("/inject/", post(inject_plainly))
        .route("/inject/{*parameters}", post(inject_with_parameters))
        .with_state(Arc::clone(&state));
    observation(state).merge(inject)
}

async fn readyz(Shared(state): Shared<Arc<State>>) -> Response {
    let (is_ready, page) = state.readiness();
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, page).into_response()
}

async fn render_metrics(Shared(state): Shared<Arc<State>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.render()).into_response()
}

async fn inject_plainly(Shared(state): Shared<Arc<State>>, request: Request<Body>) -> Response {
    inject(&state, "", request).await
}

async fn inject_with_parameters(Shared(state): Shared<Arc<State>>, Path(path): Path<String>, request: Request<Body>) -> Response {
    inject(&state, &path, request).await
}

async fn inject(state: &State, path: &str, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let answered = match body_of_review(&head.headers, body).await {
        Ok(body) => answer(state, path, &body),
        Err(rejection) => Err(rejection),
    };
    match answered {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err((status, problem)) => {
            state.metrics.rejected(status.as_u16());
            tracing::warn!(target: "webhook", status = status.as_u16(), "request refused: {problem}");
            // What has not been read of the body will not be; the connection ends with the answer.
            (status, [(header::CONNECTION, "close")], format!("{problem}\n")).into_response()
        }
    }
}

type Rejection = (StatusCode, String);

async fn body_of_review(headers: &HeaderMap, body: Body) -> Result<Bytes, Rejection> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if content_type.as_deref() != Some("application/json") {
        let got = content_type.unwrap_or_else(|| "none".to_owned());
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("expected Content-Type `application/json`, got `{}`", got.escape_debug()),
        ));
    }
    let collected = tokio::time::timeout(BODY_TIME, Limited::new(body, LARGEST_BODY).collect());
    match collected.await {
        Ok(Ok(body)) => match body.to_bytes() {
            body if body.is_empty() => Err((StatusCode::BAD_REQUEST, "no body found".to_owned())),
            body => Ok(body),
        },
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("expected a body of at most {LARGEST_BODY} bytes")))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {} s", BODY_TIME.as_secs()))),
    }
}

/// Without a configuration there is no answer at all: then the webhook's failurePolicy decides, as for an injector that is not there.
fn answer(state: &State, path: &str, body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let since = Instant::now();
    let Some(settings) = state.settings() else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the injector has no configuration yet; see /readyz".to_owned()));
    };
    let (version, uid, verdict, pod) = match review::read(body) {
        Ok((version, request)) => {
            let (uid, pod) = (request.uid.clone(), format!("{}/{}", request.namespace, admit::display_name(&request.object)));
            (version, uid, reviewed(path, request, &settings, &state.cluster()), pod)
        }
        Err(Malformed { version, uid, message }) => (version, uid, Verdict::refused(message, &settings), String::new()),
    };
    state.metrics.answered(verdict.outcome, since.elapsed());
    log(&verdict, &uid, &pod, since.elapsed());
    Ok(verdict.response.render(version, &uid))
}

/// A defect in the transformation costs this review and no other on the connection.
fn reviewed(path: &str, request: review::Request, settings: &Settings, cluster: &Cluster) -> Verdict {
    let parameters: Parameters = match parameters::read(path) {
        Ok(parameters) => parameters,
        Err(problem) => return Verdict::refused(problem, settings),
    };
    catch_unwind(AssertUnwindSafe(|| admit::admit(request, &parameters, settings, cluster)))
        .unwrap_or_else(|_| Verdict::refused("internal error while injecting; the injector's log has the details".to_owned(), settings))
}

/// Debug formatting escapes: names and reasons carry text that nobody has validated yet.
fn log(verdict: &Verdict, uid: &str, pod: &str, took: Duration) {
    let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let Verdict { outcome, reason, response } = verdict;
    match outcome {
        Outcome::Refused => tracing::warn!(target: "webhook", ?pod, uid = ?uid, outcome = outcome.as_str(), ?reason, microseconds),
        _ => {
            tracing::info!(target: "webhook", ?pod, uid = ?uid, outcome = outcome.as_str(), ?reason, warnings = response.warnings.len(), microseconds)
        }
    }
}
