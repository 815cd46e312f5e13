//! How many reviews one core answers, and how long each takes: `cargo bench -p outrigger-injector --bench reviews`.
//!
//! The webhook runs on a thread of its own, behind TLS, with access to a whole configuration; callers on another thread keep connections
//! as API servers do. What counts as a core's rate is the processor time of the webhook's thread, so that a busy machine does not spoil it;
//! the time of a review is the caller's, and does suffer. Ends with status 1 if a limit is missed: 1,000 reviews a second on one core, none
//! of a hundred slower than 50 ms.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use nix::time::{ClockId, clock_gettime};
use outrigger_injector::Configuration;
use outrigger_injector::webhook::certificate::Identity;
use outrigger_injector::webhook::server::{Limits, Server};
use outrigger_injector::webhook::{State, routes};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::sync::watch;

const NAME: &str = "outrigger-injector.mesh.svc";
const CONNECTIONS: usize = 32;
const WARM_UP: usize = 320;
const RATE: f64 = 1000.0;
const P99: Duration = Duration::from_millis(50);

struct Started {
    address: SocketAddr,
    certificate: String,
}

fn main() -> ExitCode {
    // `cargo test` builds this too and passes its own flags; there a few reviews show that it works.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let reviews = if is_measured { 20_000 } else { 320 };
    let (started, where_it_is) = mpsc::channel();
    let (end, ending) = watch::channel(false);
    let webhook = std::thread::spawn(move || serve(&started, ending));
    let Started { address, certificate } = where_it_is.recv().expect("the webhook starts");
    let callers = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let warm_up = callers.block_on(call(address, &certificate, WARM_UP));
    assert!(warm_up.iter().all(|time| *time < Duration::from_secs(60)));
    let since = Instant::now();
    let mut times = callers.block_on(call(address, &certificate, reviews));
    let elapsed = since.elapsed();
    end.send_replace(true);
    let busy = webhook.join().expect("the webhook ends");
    times.sort_unstable();
    report(&times, elapsed, busy / u32::try_from(times.len() + WARM_UP).unwrap_or(1), is_measured)
}

fn report(times: &[Duration], elapsed: Duration, busy: Duration, is_measured: bool) -> ExitCode {
    let quantile = |part: f64| times[((times.len() as f64 * part) as usize).min(times.len() - 1)];
    let rate = 1.0 / busy.as_secs_f64();
    println!("{} reviews over {CONNECTIONS} TLS connections in {:.2} s", times.len(), elapsed.as_secs_f64());
    println!("processor time of the webhook per review: {busy:.1?}, so {rate:.0} reviews/s on one core (expected {RATE:.0})");
    println!("time of a review: p50 {:.2?}, p99 {:.2?} (expected {P99:?}), max {:.2?}", quantile(0.5), quantile(0.99), quantile(1.0));
    let is_met = rate >= RATE && quantile(0.99) <= P99;
    if is_met || !is_measured { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The processor time that this thread has taken when it is told to end.
fn serve(started: &mpsc::Sender<Started>, ending: watch::Receiver<bool>) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        let state = Arc::new(State::default());
        let config = "policy: enabled\nneverInjectSelector: [{matchExpressions: [{key: never, operator: Exists}]}]\n";
        let configuration = Configuration::read(config, Some("{}"), Some("trustDomain: cluster.local\n")).expect("a configuration");
        state.configure(configuration.settings, "the benchmark");
        state
            .serving
            .replace(Identity::from_pem(certificate.as_bytes(), made.signing_key.serialize_pem().as_bytes()).expect("an identity"));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::https(any, routes::webhook(Arc::clone(&state)), Limits::default(), state).await.expect("a port");
        let address = server.address().expect("an address");
        started.send(Started { address, certificate }).expect("somebody waits");
        server.run(ending).await;
    });
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of this thread").into()
}

/// Spreads the reviews over connections, and how long each took.
async fn call(address: SocketAddr, certificate: &str, reviews: usize) -> Vec<Duration> {
    let calls = (0..CONNECTIONS).map(|_| call_on_one(address, certificate, reviews / CONNECTIONS));
    futures_util::future::join_all(calls).await.concat()
}

async fn call_on_one(address: SocketAddr, certificate: &str, reviews: usize) -> Vec<Duration> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let stream = connector.connect(ServerName::try_from(NAME).expect("a name"), stream).await.expect("a handshake");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let body = Bytes::from(review().to_string());
    let mut times = Vec::with_capacity(reviews);
    for _ in 0..reviews {
        let request = http::Request::post("/inject").header("host", NAME).header("content-type", "application/json");
        let since = Instant::now();
        let response = sender.send_request(request.body(Full::new(body.clone())).expect("a request")).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        times.push(since.elapsed());
        assert!(body.windows(9).any(|text| text == b"JSONPatch"), "{}", String::from_utf8_lossy(&body));
    }
    times
}

/// A pod as a Deployment of an ordinary service makes it.
fn review() -> Value {
    let environment: Vec<Value> =
        (0..20).map(|number| json!({ "name": format!("SETTING_{number}"), "value": "of the application" })).collect();
    let probe = json!({ "httpGet": { "path": "/healthz", "port": "http", "scheme": "HTTP" }, "periodSeconds": 10 });
    let mount = json!({ "name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop", "operation": "CREATE",
            "object": {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "generateName": "front-v1-5d4f8c7d9-",
                    "labels": { "app": "front", "version": "v1", "pod-template-hash": "5d4f8c7d9" },
                    "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "8080" },
                    "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "front-v1-5d4f8c7d9", "uid": "1", "controller": true }],
                },
                "spec": {
                    "serviceAccountName": "front",
                    "initContainers": [{ "name": "migrate", "image": "example/migrate:1", "volumeMounts": [mount] }],
                    "containers": [{
                        "name": "app", "image": "example/front:1", "env": environment, "volumeMounts": [mount],
                        "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                        "livenessProbe": probe, "readinessProbe": probe,
                        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } },
                    }],
                    "volumes": [{ "name": "kube-api-access-x", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } }],
                },
            },
        },
    })
}
