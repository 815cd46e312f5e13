//! What an API server does: calls the webhook over TLS, trusting exactly the `caBundle` it was given.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection that is kept.
pub struct Caller {
    sender: http1::SendRequest<Full<Bytes>>,
}

/// TLS alone, for peers that do not behave.
pub async fn tls(address: SocketAddr, name: &str, bundle: &[u8]) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await.map_err(|error| error.to_string())
}

impl Caller {
    pub async fn connect(address: SocketAddr, name: &str, bundle: &[u8]) -> Result<Self, String> {
        let stream = tls(address, name, bundle).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        Ok((status, response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes()))
    }

    /// Whether the server keeps the connection.
    pub async fn is_kept(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(header::HOST, "injector").body(Full::default()).unwrap();
        let (status, body) = self.send(request).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<(StatusCode, Bytes), String> {
        let request = Request::post(path).header(header::HOST, "injector").header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    /// The `response` of the answer to a review of this pod.
    pub async fn review(&mut self, pod: &Value) -> Result<Value, String> {
        let uid = format!("{:016x}", rand::random::<u64>());
        let (status, body) = self.post("/inject", review(&uid, pod).to_string()).await?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| format!("{status}: {error}"))?;
        if status != StatusCode::OK || answer["response"]["uid"] != uid.as_str() {
            return Err(format!("{status}: {answer}"));
        }
        Ok(answer["response"].clone())
    }
}

pub fn review(uid: &str, pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop",
            "operation": "CREATE",
            "object": pod,
        },
    })
}

pub fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "front-", "labels": { "app": "front" } },
        "spec": { "containers": [{ "name": "app", "image": "front:1", "ports": [{ "containerPort": 8080 }] }] },
    })
}

/// The pod after the answer's patch.
pub fn patched(pod: &Value, response: &Value) -> Value {
    use base64::Engine as _;
    let Some(patch) = response["patch"].as_str() else { return pod.clone() };
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    let steps: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut result = pod.clone();
    json_patch::patch(&mut result, &steps).unwrap();
    result
}
