//! The webhook's URLs.
//!
//! Both ports serve `/healthz`, `/readyz` and `/metrics`; `/inject` is on the encrypted one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::admit::{self, Outcome, Verdict};
use super::budget::Held;
use super::parameters::{self, Parameters};
use super::review::{self, Malformed};
use super::server::Reviewed;
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
    inject(state, String::new(), request).await
}

async fn inject_with_parameters(Shared(state): Shared<Arc<State>>, Path(path): Path<String>, request: Request<Body>) -> Response {
    inject(state, path, request).await
}

async fn inject(state: Arc<State>, path: String, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let answered = match body_of_review(&state, &head.headers, body).await {
        Ok(body) => worked_on(Arc::clone(&state), path, body).await,
        Err(rejection) => Err(rejection),
    };
    match answered {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], Extension(Reviewed), body).into_response(),
        Err((status, problem)) => {
            state.metrics.rejected(status.as_u16());
            tracing::warn!(target: "webhook", status = status.as_u16(), "request refused: {problem}");
            // What has not been read of the body will not be; the connection ends with the answer.
            let mut response = (status, [(header::CONNECTION, "close")], format!("{problem}\n")).into_response();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

type Rejection = (StatusCode, String);

/// On a thread of its own, so that a large review keeps nobody from asking whether the process lives.
async fn worked_on(state: Arc<State>, path: String, body: Held) -> Result<Vec<u8>, Rejection> {
    let place = state.budget.review(body.bytes().len()).await;
    let work = move || {
        let _place = place;
        answer(&state, &path, body.bytes())
    };
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err((StatusCode::INTERNAL_SERVER_ERROR, format!("the review was not answered: {error}"))))
}

async fn body_of_review(state: &State, headers: &HeaderMap, body: Body) -> Result<Held, Rejection> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if content_type.as_deref() != Some("application/json") {
        let got = content_type.unwrap_or_else(|| "none".to_owned());
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("expected Content-Type `application/json`, got `{}`", got.escape_debug()),
        ));
    }
    match tokio::time::timeout(BODY_TIME, collected(state, Limited::new(body, LARGEST_BODY))).await {
        Ok(Ok(body)) if body.bytes().is_empty() => Err((StatusCode::BAD_REQUEST, "no body found".to_owned())),
        Ok(outcome) => outcome,
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {} s", BODY_TIME.as_secs()))),
    }
}

async fn collected(state: &State, mut body: Limited<Body>) -> Result<Held, Rejection> {
    let mut held = state.budget.body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => (StatusCode::PAYLOAD_TOO_LARGE, format!("expected a body of at most {LARGEST_BODY} bytes")),
            false => (StatusCode::BAD_REQUEST, format!("the body broke off: {error}")),
        })?;
        if frame.data_ref().is_some_and(|data| !held.push(data)) {
            let problem = "too many large reviews are being read at the moment; try again in a second";
            return Err((StatusCode::SERVICE_UNAVAILABLE, problem.to_owned()));
        }
    }
    Ok(held)
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
