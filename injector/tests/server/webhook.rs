//! The webhook over real TLS: good, malformed, oversized, slow and many reviews.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use outrigger_injector::Settings;
use outrigger_injector::webhook::budget::Budget;
use outrigger_injector::webhook::certificate::Identity;
use outrigger_injector::webhook::server::{Limits, Server};
use outrigger_injector::webhook::{State, routes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::caller::{Caller, patched, pod, review, tls};
use super::fixture::{NAME, eventually};

pub struct Webhook {
    pub state: Arc<State>,
    address: std::net::SocketAddr,
    authority: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Webhook {
    pub async fn start(limits: Limits) -> Self {
        Self::start_with(limits, State::default()).await
    }

    async fn start_with(limits: Limits, state: State) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let state = Arc::new(state);
        state.configure(Settings::default(), "the test");
        let (end, ending) = watch::channel(false);
        let server =
            Server::https("127.0.0.1:0".parse().unwrap(), routes::webhook(Arc::clone(&state)), limits, Arc::clone(&state)).await.unwrap();
        let address = server.address().unwrap();
        let task = tokio::spawn(server.run(ending));
        let webhook = Self { state, address, authority, issuer: rcgen::Issuer::new(params, key), end, task };
        webhook.renew();
        webhook
    }

    /// Serves a new certificate of the same authority from now on.
    fn renew(&self) {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        self.state.serving.replace(Identity::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap());
    }

    pub async fn caller(&self) -> Caller {
        Caller::connect(self.address, NAME, self.authority.as_bytes()).await.unwrap()
    }

    async fn tls(&self) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        tls(self.address, NAME, self.authority.as_bytes()).await.unwrap()
    }
}

/// What the API server would do with the answer to bytes of any kind.
fn answer(sent: Result<(StatusCode, Bytes), String>) -> Value {
    let (status, body) = sent.unwrap();
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_pod_is_injected_and_kubectl_audit_and_metrics_hear_of_it() {
    let webhook = Webhook::start(Limits::default()).await;
    let mut caller = webhook.caller().await;
    let mut original = pod();
    original["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("yes");
    let response = caller.review(&original).await.unwrap();
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    let injected = patched(&original, &response);
    let names = |list: &str| injected["spec"][list].as_array().into_iter().flatten().map(|item| item["name"].clone()).collect::<Vec<_>>();
    assert!([names("containers"), names("initContainers")].concat().contains(&json!("istio-proxy")), "{injected}");
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("sidecar.istio.io/inject") && warning.contains("yes"), "{warning}");
    assert_eq!(response["auditAnnotations"]["outcome"], "injected");
    assert_eq!(response["auditAnnotations"]["cause"], "policy-enabled");

    let mut beta = review("u-beta", &original);
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let answered = answer(caller.post("/inject/cluster/c1", beta.to_string()).await);
    assert_eq!((&answered["apiVersion"], &answered["response"]["uid"]), (&json!("admission.k8s.io/v1beta1"), &json!("u-beta")));

    let (status, metrics) = caller.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in ["sidecar_injection_requests_total 2", "sidecar_injection_success_total 2", "sidecar_injection_time_seconds_count 2"] {
        assert!(metrics.contains(line), "{line}:\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert_eq!(caller.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(caller.get("/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn malformed_reviews_are_answered_so_that_the_api_server_can_tell_why() {
    let webhook = Webhook::start(Limits::default()).await;
    let unreadable = [
        "{".to_owned(),
        "[]".to_owned(),
        json!({ "kind": "Pod", "apiVersion": "v1" }).to_string(),
        json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1" }).to_string(),
        json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": 1 }).to_string(),
        review("u", &json!("no pod")).to_string(),
        review("u", &json!({ "spec": { "containers": "none" } })).to_string(),
    ];
    for body in unreadable {
        let answered = answer(webhook.caller().await.post("/inject", body.clone()).await);
        assert_eq!((&answered["kind"], &answered["response"]["allowed"]), (&json!("AdmissionReview"), &json!(false)), "{body}");
        assert!(answered["response"]["status"]["message"].as_str().is_some_and(|message| message.len() > 10), "{body}: {answered}");
    }
    let bad_path = answer(webhook.caller().await.post("/inject/cluster", review("u", &pod()).to_string()).await);
    assert!(bad_path["response"]["status"]["message"].as_str().unwrap().contains("without a value"), "{bad_path}");

    let (status, _) = webhook.caller().await.post("/inject", "").await.unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for content_type in [None, Some("text/plain"), Some("application/json; charset=utf-8")] {
        let mut request = Request::post("/inject").header(header::HOST, "injector");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
        assert_eq!(webhook.caller().await.send(request).await.unwrap().0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
    }
    assert_eq!(webhook.caller().await.get("/inject").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(webhook.caller().await.get("/other").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn six_mebibytes_are_read_and_one_byte_more_is_not() {
    let webhook = Webhook::start(Limits::default()).await;
    let padded = |length: usize| {
        let body = review("u", &pod()).to_string();
        body.clone() + &" ".repeat(length - body.len())
    };
    let answered = answer(webhook.caller().await.post("/inject", padded(routes::LARGEST_BODY)).await);
    assert_eq!(answered["response"]["allowed"], true);
    // Told or not how much comes: a client that has not finished writing may see the end of the connection instead of the answer.
    if let Ok((status, _)) = webhook.caller().await.post("/inject", padded(routes::LARGEST_BODY + 1)).await {
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut stream = webhook.tls().await;
    let head = "POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let mut written = 0;
    while written < 64 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        written += 1;
    }
    assert!(written < 64, "the server stopped reading");
    assert!(webhook.state.metrics.render().contains("rejected_requests_total{code=\"413\"} 2"), "{}", webhook.state.metrics.render());
    assert_eq!(webhook.caller().await.review(&pod()).await.unwrap()["allowed"], true);
}

/// A peer that sends a byte now and then, before, in and after the head, and one that reads nothing.
#[tokio::test]
async fn slow_peers_lose_their_connection_and_others_are_served_meanwhile() {
    let time = Duration::from_secs(1);
    let webhook =
        Webhook::start(Limits { handshake: time, head: time, request: time, idle: time, idle_stranger: time, ..Limits::default() }).await;
    let head = "POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n";
    let since = Instant::now();
    let mut slow = tokio::task::JoinSet::new();
    for text in ["", head, &format!("{head}\r\n{{")] {
        for _ in 0..20 {
            let (mut stream, text) = (webhook.tls().await, text.to_owned());
            slow.spawn(async move {
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut end = [0; 1024];
                loop {
                    tokio::select! {
                        read = stream.read(&mut end) => if !read.is_ok_and(|length| length > 0) { return },
                        () = tokio::time::sleep(Duration::from_millis(50)) => if !text.is_empty() { let _ = stream.write_all(b"a").await; },
                    }
                }
            });
        }
    }
    // No handshake at all.
    let mut silent = tokio::net::TcpStream::connect(webhook.address).await.unwrap();
    for _ in 0..10 {
        assert_eq!(webhook.caller().await.review(&pod()).await.unwrap()["allowed"], true);
    }
    let all_end = async { while slow.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), all_end).await.expect("every slow peer is let go");
    assert!(!silent.read(&mut [0; 8]).await.is_ok_and(|length| length > 0));
    assert!(since.elapsed() >= time, "not before their time");

    let mut caller = webhook.caller().await;
    caller.review(&pod()).await.unwrap();
    tokio::time::sleep(time * 2).await;
    assert!(!caller.is_kept().await, "an idle connection ends too");
}

#[tokio::test]
async fn when_all_places_are_taken_who_idles_longest_makes_room_and_who_works_stays() {
    let webhook = Webhook::start(Limits { connections: 4, ..Limits::default() }).await;
    let (mut first, mut stranger, mut second) = (webhook.caller().await, webhook.caller().await, webhook.caller().await);
    first.review(&pod()).await.unwrap();
    assert_eq!(stranger.get("/healthz").await.0, StatusCode::OK);
    second.review(&pod()).await.unwrap();
    let head = "POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n";
    let busy = async || {
        let mut stream = webhook.tls().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream
    };
    let mut working = vec![busy().await, busy().await];
    eventually("a stranger goes first", async || (!stranger.is_kept().await).then_some(())).await;
    working.push(busy().await);
    eventually("then who has been idle for longest", async || (!first.is_kept().await).then_some(())).await;
    second.review(&pod()).await.unwrap();
    working.push(busy().await);
    assert!(Caller::connect(webhook.address, NAME, webhook.authority.as_bytes()).await.is_err(), "all are at work");
    assert!(webhook.state.metrics.connections_refused.get() >= 1);
    drop(working);
    eventually("a place", async || Caller::connect(webhook.address, NAME, webhook.authority.as_bytes()).await.ok()).await;
}

#[tokio::test]
async fn bodies_beyond_the_budget_are_sent_away_for_a_second_and_small_ones_are_read() {
    let mut state = State::default();
    state.budget = Budget::new(1 << 20);
    let webhook = Webhook::start_with(Limits::default(), state).await;
    let send = async |length: usize| {
        let mut stream = webhook.tls().await;
        let head = "POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; length]).await.unwrap();
        stream
    };
    let free = 16 << 10;
    let holding = send(free + (1 << 20)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut answer = String::new();
    let _ = send(free + 1).await.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(webhook.caller().await.review(&pod()).await.unwrap()["allowed"], true);
    drop(holding);
    let body = review("u", &pod()).to_string() + &" ".repeat(500_000);
    let post = async || webhook.caller().await.post("/inject", body.clone()).await.ok().filter(|(status, _)| *status == StatusCode::OK);
    eventually("the budget comes back", post).await;
}

/// On one thread: what is worked on there keeps everybody waiting.
#[tokio::test]
async fn probes_are_answered_while_a_large_review_is_worked_on() {
    let webhook = Webhook::start(Limits::default()).await;
    let mut large = pod();
    large["spec"]["containers"][0]["args"] = json!(vec![""; 500_000]);
    let body = review("u", &large).to_string();
    let head = format!("POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let (mut asking, mut probing) = (webhook.tls().await, webhook.caller().await);
    let (start, last) = body.split_at(body.len() - 1);
    asking.write_all((head + start).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    asking.write_all(last.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    let mut answered = 0;
    loop {
        tokio::select! {
            biased;
            read = asking.read_exact(&mut status) => break assert!(read.is_ok()),
            (status, _) = probing.get("/healthz") => answered += usize::from(status == StatusCode::OK),
        }
    }
    assert_eq!(&status, b"HTTP/1.1 200");
    assert!(answered >= 5, "only {answered} probes were answered meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_reviews_at_once_while_the_certificate_is_exchanged() {
    let webhook = Arc::new(Webhook::start(Limits::default()).await);
    let mut reviews = tokio::task::JoinSet::new();
    for number in (0..500).map(|number: u32| number.to_string()) {
        let webhook = Arc::clone(&webhook);
        reviews.spawn(async move {
            let mut pod = pod();
            pod["metadata"]["labels"]["number"] = json!(number);
            let response = webhook.caller().await.review(&pod).await?;
            Ok::<_, String>(patched(&pod, &response)["metadata"]["labels"]["number"] == *number && response["patch"].is_string())
        });
    }
    let mut renewals = 0;
    while !reviews.is_empty() {
        webhook.renew();
        renewals += 1;
        let next = tokio::time::timeout(Duration::from_millis(5), reviews.join_next()).await;
        if let Ok(Some(outcome)) = next {
            assert!(outcome.unwrap().unwrap(), "each its own answer");
        }
    }
    assert!(renewals > 100, "{renewals} exchanges");
    assert!(webhook.state.metrics.render().contains("sidecar_injection_success_total 500"));
}

#[tokio::test]
async fn without_configuration_the_failure_policy_decides() {
    let webhook = Webhook::start(Limits::default()).await;
    let bare = Arc::new(State::default());
    let (_end, ending) = watch::channel(false);
    let server = Server::http("127.0.0.1:0".parse().unwrap(), routes::webhook(Arc::clone(&bare)), Limits::default(), bare).await.unwrap();
    let address = server.address().unwrap();
    tokio::spawn(server.run(ending));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = review("u", &pod()).to_string();
    let head = format!("POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no configuration yet"), "{answer}");
    assert_eq!(webhook.caller().await.review(&pod()).await.unwrap()["allowed"], true);
}

#[tokio::test]
async fn an_ending_server_answers_what_it_has_and_sends_clients_elsewhere() {
    let mut webhook = Webhook::start(Limits::default()).await;
    let (mut asking, mut idle) = (webhook.caller().await, webhook.caller().await);
    idle.review(&pod()).await.unwrap();
    webhook.state.end();
    assert_eq!(asking.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!asking.is_kept().await, "after its answer the connection is closed");
    assert_eq!(idle.review(&pod()).await.unwrap()["allowed"], true, "until the end reviews are answered");
    let body = review("u", &pod()).to_string();
    let mut slow = webhook.tls().await;
    let head = format!("POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    slow.write_all((head + &body[..10]).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    webhook.end.send_replace(true);
    eventually("nothing new is accepted", async || tokio::net::TcpStream::connect(webhook.address).await.err()).await;
    slow.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = vec![0; 64];
    slow.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    drop(slow);
    tokio::time::timeout(Duration::from_secs(20), &mut webhook.task).await.expect("then it ends").unwrap();
}
