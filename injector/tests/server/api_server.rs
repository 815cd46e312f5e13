//! A stand-in for the Kubernetes API server: objects with versions, list, watch, conditional writes, and the troubles of real ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Running until dropped.
pub struct ApiServer {
    store: Arc<Store>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

struct Store {
    inner: Mutex<Inner>,
    /// Version of the newest event, and how often watches have been cut.
    news: watch::Sender<(u64, u64)>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<String, Value>,
    events: Vec<Event>,
    /// Watches from before this version are told 410.
    oldest: u64,
    tells_by_event: bool,
    refuses_watches: bool,
    delay: Duration,
    failures: Vec<Failure>,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Event {
    version: u64,
    path: String,
    kind: &'static str,
    object: Value,
}

struct Failure {
    method: Method,
    part_of_path: String,
    status: u16,
    times: usize,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    /// Starts one without objects, of Kubernetes 1.33.
    pub async fn start() -> Self {
        let store = Arc::new(Store { inner: Mutex::default(), news: watch::channel((0, 0)).0 });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&store));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { store, address, task }
    }

    /// A client of it.
    pub fn client(&self) -> kube::Client {
        outrigger_injector::control::run::client(kube::Config::new(format!("http://{}", self.address).parse().unwrap())).unwrap()
    }

    /// Creates or replaces an object, as somebody else would.
    pub fn put(&self, path: &str, object: Value) {
        let kind = if self.store.lock().objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        self.store.write(path, object, kind);
    }

    /// Changes an object, as somebody else would.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap_or_else(|| panic!("no object {path}"));
        change(&mut object);
        self.put(path, object);
    }

    pub fn delete(&self, path: &str) {
        let object = self.get(path).unwrap_or_else(|| panic!("no object {path}"));
        self.store.write(path, object, "DELETED");
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.store.lock().objects.get(path).cloned()
    }

    /// All versions that an object has had.
    pub fn history(&self, path: &str) -> Vec<Value> {
        self.store.lock().events.iter().filter(|event| event.path == path).map(|event| event.object.clone()).collect()
    }

    /// Requests so far, `METHOD path`.
    pub fn requests(&self) -> Vec<String> {
        self.store.lock().requests.clone()
    }

    /// From now on every answer takes this long.
    pub fn delay(&self, delay: Duration) {
        self.store.lock().delay = delay;
    }

    /// The next `times` requests of this method whose path contains this fail.
    pub fn fail(&self, method: Method, part_of_path: &str, status: u16, times: usize) {
        self.store.lock().failures.push(Failure { method, part_of_path: part_of_path.to_owned(), status, times });
    }

    /// No request fails any more.
    pub fn mend(&self) {
        self.store.lock().failures.clear();
    }

    /// Whether watches are forbidden while lists are not.
    pub fn refuse_watches(&self, refuse: bool) {
        self.store.lock().refuses_watches = refuse;
    }

    /// Breaks off every watch in mid-stream.
    pub fn cut_watches(&self) {
        self.store.news.send_modify(|news| news.1 += 1);
    }

    /// Forgets the past: whoever resumes a watch is told 410, by an event as API servers mostly do, or else as the answer itself.
    pub fn forget(&self, by_event: bool) {
        {
            let mut inner = self.store.lock();
            inner.version += 1;
            inner.oldest = inner.version;
            inner.tells_by_event = by_event;
        }
        self.cut_watches();
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn write(&self, path: &str, mut object: Value, kind: &'static str) -> Value {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["name"] = json!(path.rsplit('/').next().unwrap());
        match kind {
            "DELETED" => inner.objects.remove(path),
            _ => inner.objects.insert(path.to_owned(), object.clone()),
        };
        inner.events.push(Event { version, path: path.to_owned(), kind, object: object.clone() });
        drop(inner);
        self.news.send_modify(|news| news.0 = version);
        object
    }

    fn failure(&self, method: &Method, path: &str) -> Option<u16> {
        let mut inner = self.lock();
        inner.requests.push(format!("{method} {path}"));
        let failure = inner.failures.iter_mut().find(|f| f.times > 0 && f.method == *method && path.contains(&f.part_of_path))?;
        failure.times -= 1;
        Some(failure.status)
    }
}

async fn answer(State(store): State<Arc<Store>>, method: Method, uri: Uri, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    let delay = store.lock().delay;
    tokio::time::sleep(delay).await;
    if let Some(code) = store.failure(&method, &path) {
        return status(code, "a failure that the test asked for");
    }
    let query = query.unwrap_or_default();
    match (method, is_collection(&path)) {
        (Method::GET, _) if path == "/version" => version(),
        (Method::GET, true) if query.contains("watch=true") && store.lock().refuses_watches => status(403, "no watches"),
        (Method::GET, true) if query.contains("watch=true") => watch(&store, &path, &query),
        (Method::GET, true) => list(&store, &path, &query),
        (Method::GET, false) => found(store.lock().objects.get(&path).cloned()),
        (Method::POST, true) => create(&store, &path, &body),
        (Method::PUT, false) => replace(&store, &path, &body),
        (Method::PATCH, false) => patch(&store, &path, &body),
        _ => status(405, "not here"),
    }
}

/// `/api/v1[/namespaces/N]/R` or `/apis/G/V[/namespaces/N]/R`, without a name.
fn is_collection(path: &str) -> bool {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = &segments[if segments[0] == "api" { 2 } else { 3 }.min(segments.len())..];
    let rest = if rest.first() == Some(&"namespaces") { &rest[2..] } else { rest };
    rest.len() == 1
}

fn version() -> Response {
    axum::Json(json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.1", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "",
        "compiler": "", "platform": "",
    }))
    .into_response()
}

fn status(code: u16, message: &str) -> Response {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 if message.contains("already") => "AlreadyExists",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        _ => "InternalError",
    };
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code });
    (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
}

fn found(object: Option<Value>) -> Response {
    object.map_or_else(|| status(404, "not found"), |object| axum::Json(object).into_response())
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The one name a field selector asks for.
fn selects(query: &str, collection: &str, path: &str) -> bool {
    let Some(name) = path.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')) else { return false };
    let wanted = parameter(query, "fieldSelector").map(|selector| selector.replace("%3D", "="));
    wanted.is_none_or(|selector| selector == format!("metadata.name={name}"))
}

fn list(store: &Store, collection: &str, query: &str) -> Response {
    let inner = store.lock();
    let items: Vec<&Value> = inner.objects.iter().filter(|(path, _)| selects(query, collection, path)).map(|(_, object)| object).collect();
    axum::Json(json!({ "kind": "List", "metadata": { "resourceVersion": inner.version.to_string() }, "items": items })).into_response()
}

fn create(store: &Store, collection: &str, body: &[u8]) -> Response {
    let object: Value = serde_json::from_slice(body).unwrap();
    let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
    if store.lock().objects.contains_key(&path) {
        return status(409, "already exists");
    }
    (StatusCode::CREATED, axum::Json(store.write(&path, object, "ADDED"))).into_response()
}

fn replace(store: &Store, path: &str, body: &[u8]) -> Response {
    let object: Value = serde_json::from_slice(body).unwrap();
    let Some(present) = store.lock().objects.get(path).cloned() else { return status(404, "not found") };
    if object["metadata"]["resourceVersion"] != present["metadata"]["resourceVersion"] {
        return status(409, "the object has been modified");
    }
    axum::Json(store.write(path, object, "MODIFIED")).into_response()
}

fn patch(store: &Store, path: &str, body: &[u8]) -> Response {
    let steps: json_patch::Patch = serde_json::from_slice(body).unwrap();
    let Some(mut object) = store.lock().objects.get(path).cloned() else { return status(404, "not found") };
    match json_patch::patch(&mut object, &steps) {
        Ok(()) => axum::Json(store.write(path, object, "MODIFIED")).into_response(),
        Err(error) => status(422, &error.to_string()),
    }
}

/// Events after the version asked for, as they happen, until the watches are cut.
fn watch(store: &Arc<Store>, collection: &str, query: &str) -> Response {
    let since: u64 = parameter(query, "resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default();
    if since < store.lock().oldest {
        let expired =
            json!({ "kind": "Status", "status": "Failure", "message": "too old resource version", "reason": "Expired", "code": 410 });
        let by_event = store.lock().tells_by_event;
        let event = || Body::from(format!("{}\n", json!({ "type": "ERROR", "object": expired }))).into_response();
        return if by_event { event() } else { status(410, "too old resource version") };
    }
    let (store, collection, query) = (Arc::clone(store), collection.to_owned(), query.to_owned());
    let news = store.news.subscribe();
    let cuts = news.borrow().1;
    let lines = stream::try_unfold((since, news), move |(since, mut news)| {
        let (store, collection, query) = (Arc::clone(&store), collection.clone(), query.clone());
        async move {
            loop {
                if news.borrow_and_update().1 != cuts {
                    return Err(std::io::Error::other("the watch is cut"));
                }
                let next =
                    store.lock().events.iter().find(|event| event.version > since && selects(&query, &collection, &event.path)).cloned();
                if let Some(event) = next {
                    let line = format!("{}\n", json!({ "type": event.kind, "object": event.object }));
                    return Ok(Some((line, (event.version, news))));
                }
                if news.changed().await.is_err() {
                    return Ok(None);
                }
            }
        }
    });
    Body::from_stream(lines).into_response()
}
