//! HTTP: one request in, one answer out, chosen by path.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{
    App,
    body::{self, Body},
    failure::{FailRule, parse_share},
    grpc, inspect,
    tls::TlsFacts,
    websocket,
};

/// The longest delay a request may ask for; longer wishes are cut to it.
const MAX_DELAY: Duration = Duration::from_secs(300);

/// Who is at the other end of a connection.
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsFacts>,
}

/// Serves the requests of one connection.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pub(crate) client: Arc<Client>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self { app, client } = self.clone();
        Box::pin(async move { Ok(serve(&app, &client, request).await) })
    }
}

/// Answers one request, signs the answer with pod and version, and counts it.
async fn serve(app: &App, client: &Client, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let attempt = header_text(request.headers(), "x-envoy-attempt-count");
    let controls = path.starts_with("/counts") || path.starts_with("/admin/");
    let failing = if controls { None } else { lock(&app.failures).next(&path) };
    if let Some(pause) = number(request.uri().query(), "delay") {
        sleep_ms(pause).await;
    }
    let mut response = if grpc::is_grpc(request.headers()) {
        grpc::answer(request, failing)
    } else if let Some(status) = failing {
        with_status(status, app.hello())
    } else if websocket::is_upgrade(request.headers()) {
        websocket::accept(request)
    } else {
        by_path(app, client, request).await
    };
    if !controls {
        lock(&app.counts).add(&path, response.status().as_u16(), attempt.as_deref());
    }
    sign(app, &path, response.headers_mut());
    response
}

/// The table of paths in the module's head.
async fn by_path(app: &App, client: &Client, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["delay", ms] => match ms.parse() {
            Ok(ms) => {
                sleep_ms(ms).await;
                Response::new(body::fixed(app.hello()))
            }
            Err(_) => bad_request("expected /delay/MILLISECONDS"),
        },
        ["status", code] => status(app, code, &request),
        ["headers"] => {
            let (parts, _) = request.into_parts();
            json(inspect::describe(app, client, &parts))
        }
        ["echo"] => echo(request),
        ["stream", count, ms] => match (count.parse(), ms.parse()) {
            (Ok(count), Ok(ms)) => Response::new(body::paced(count, Duration::from_millis(ms), app.hello())),
            _ => bad_request("expected /stream/CHUNKS/MILLISECONDS"),
        },
        ["bytes", length] => match length.parse() {
            Ok(length) => Response::new(body::filler(length)),
            Err(_) => bad_request("expected /bytes/LENGTH"),
        },
        ["counts"] => json(counts(app)),
        ["counts", "reset"] => {
            *lock(&app.counts) = super::counts::Counts::default();
            Response::new(body::fixed("reset\n"))
        }
        ["admin", "fail"] => set_failure(app, request.uri().query()),
        _ => Response::new(body::fixed(app.hello())),
    }
}

/// `/status/CODE`, for all requests or for `?rate=` of them.
fn status(app: &App, code: &str, request: &Request<Incoming>) -> Response<Body> {
    let Some(code) = code.parse::<StatusCode>().ok().filter(|code| code.as_u16() >= 200) else {
        return bad_request("expected /status/CODE, CODE from 200 to 999");
    };
    let rate = parameter(request.uri().query(), "rate").map(parse_share);
    let chosen = match rate {
        None => true,
        Some(None) => return bad_request("expected rate=SHARE, from 0 to 1 or in percent"),
        Some(Some(share)) => {
            let key = request.uri().path_and_query().map_or("", |both| both.as_str());
            lock(&app.failures).chosen(key, share)
        }
    };
    with_status(if chosen { code } else { StatusCode::OK }, app.hello())
}

/// The request's body, frame by frame, so that both directions flow at once and trailers survive.
fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, incoming) = request.into_parts();
    let mut response = Response::new(incoming.boxed_unsync());
    if let Ok(method) = HeaderValue::from_str(parts.method.as_str()) {
        response.headers_mut().insert("x-echo-method", method);
    }
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
}

fn set_failure(app: &App, query: Option<&str>) -> Response<Body> {
    let share = parameter(query, "rate").map_or(Some(1.0), parse_share);
    let status = parameter(query, "status").map(str::parse::<StatusCode>);
    let rule = match (status, share) {
        (None, _) => None,
        (Some(Ok(status)), Some(share)) => Some(FailRule { status, share, path: parameter(query, "path").map(str::to_owned) }),
        _ => return bad_request("expected /admin/fail?status=CODE&rate=SHARE[&path=/PATH], or no query to stop"),
    };
    lock(&app.failures).set(rule);
    Response::new(body::fixed("set\n"))
}

fn counts(app: &App) -> String {
    let counts = serde_json::to_value(&*lock(&app.counts)).unwrap_or_default();
    let mut object = serde_json::json!({ "pod": app.hostname, "version": app.version });
    if let (Some(object), serde_json::Value::Object(counts)) = (object.as_object_mut(), counts) {
        object.extend(counts);
    }
    format!("{object}\n")
}

fn sign(app: &App, path: &str, headers: &mut HeaderMap) {
    for (name, text) in [("x-pod", app.hostname.as_str()), ("x-version", &app.version), ("x-path", path)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(body::fixed(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn with_status(status: StatusCode, text: String) -> Response<Body> {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(body::fixed(if bodiless { String::new() } else { text }));
    *response.status_mut() = status;
    response
}

fn bad_request(expected: &'static str) -> Response<Body> {
    with_status(StatusCode::BAD_REQUEST, format!("{expected}\n"))
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms).min(MAX_DELAY)).await;
}

/// The first value of a query parameter, not percent-decoded.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn number(query: Option<&str>, name: &str) -> Option<u64> {
    parameter(query, name)?.parse().ok()
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The tables hold no invariant across fields, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
