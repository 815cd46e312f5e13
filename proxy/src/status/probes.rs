//! Application probes that the kubelet sends to us because the application's port is captured (sidecar contract 1.3).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use outrigger_config::model::TlsOrigination;
use serde::Deserialize;

use super::fetch::{Answer, connect, send};
use super::grpc_health;
use crate::bootstrap::Settings;
use crate::identity::{Identity, client};
use crate::runtime::Process;

/// Longest body handed back to the kubelet.
const BODY: usize = 10 << 10;
/// Redirects followed within the application.
const REDIRECTS: usize = 10;

/// The probes of the pod, by the path under which the kubelet asks for them.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    by_path: HashMap<String, Prober>,
    destination: Option<IpAddr>,
}

/// One probe, in Kubernetes' field names.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prober {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocketAction>,
    grpc: Option<Grpc>,
    #[serde(default)]
    timeout_seconds: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
struct TcpSocketAction {
    port: u16,
}

#[derive(Clone, Debug, Deserialize)]
struct Grpc {
    port: u16,
    #[serde(default)]
    service: Option<String>,
}

impl Probes {
    /// Reads the settings.
    ///
    /// # Errors
    /// Text that is not the expected JSON, a path of another shape, a probe of no or several kinds.
    pub fn parse(settings: &Settings) -> anyhow::Result<Probes> {
        let Some(text) = &settings.app_probers else { return Ok(Probes::default()) };
        let by_path: HashMap<String, Prober> = serde_json::from_str(text).context("expected a JSON object of probes")?;
        for (path, prober) in &by_path {
            anyhow::ensure!(is_probe_path(path), "{path}: expected /app-health/CONTAINER/readyz, livez or startupz");
            let kinds = [prober.http_get.is_some(), prober.tcp_socket.is_some(), prober.grpc.is_some()];
            anyhow::ensure!(kinds.iter().filter(|is| **is).count() == 1, "{path}: expected exactly one of httpGet, tcpSocket and grpc");
        }
        let pod = settings.node.ip_addresses.first().copied();
        Ok(Probes { by_path, destination: pod.filter(|_| !settings.probe_localhost) })
    }

    /// Carries out the probe of a path.
    pub async fn answer(&self, process: &Process, path: &str, headers: &HeaderMap) -> Response {
        let Some(prober) = self.by_path.get(path) else {
            return (StatusCode::BAD_REQUEST, format!("no probe is known for {path}\n")).into_response();
        };
        let time = Duration::from_secs(prober.timeout_seconds.max(1));
        let host = self.destination.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let outcome = tokio::time::timeout(time, prober.run(host, &process.identity, headers)).await;
        match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, format!("no answer within {time:?}\n")).into_response(),
        }
    }
}

/// `/app-health/` or `/app-lifecycle/`, one segment, one of the known ends.
fn is_probe_path(path: &str) -> bool {
    let rest = path.strip_prefix("/app-health/").or_else(|| path.strip_prefix("/app-lifecycle/"));
    rest.and_then(|rest| rest.split_once('/'))
        .is_some_and(|(container, end)| !container.is_empty() && ["livez", "readyz", "startupz", "prestopz", "poststartz"].contains(&end))
}

impl Prober {
    async fn run(&self, host: IpAddr, identity: &Identity, headers: &HeaderMap) -> anyhow::Result<Response> {
        if let Some(http) = &self.http_get {
            return http.run(host, identity, headers).await;
        }
        if let Some(tcp) = &self.tcp_socket {
            connect(SocketAddr::new(host, tcp.port)).await?;
        } else if let Some(grpc) = &self.grpc {
            let stream = connect(SocketAddr::new(host, grpc.port)).await?;
            grpc_health::check(stream, grpc.service.as_deref().unwrap_or_default()).await?;
        }
        Ok(StatusCode::OK.into_response())
    }
}

impl HttpGet {
    async fn run(&self, host: IpAddr, identity: &Identity, headers: &HeaderMap) -> anyhow::Result<Response> {
        let destination = SocketAddr::new(host, self.port);
        let mut path = if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) };
        for _ in 0..=REDIRECTS {
            let answer = self.get(destination, identity, &path, headers).await?;
            if !answer.head.status.is_redirection() {
                return Ok((answer.head.status, answer.body).into_response());
            }
            match redirect_within(&answer, destination) {
                Some(next) => path = next,
                None => return Ok(StatusCode::OK.into_response()),
            }
        }
        bail!("stopped after {REDIRECTS} redirects")
    }

    async fn get(&self, destination: SocketAddr, identity: &Identity, path: &str, headers: &HeaderMap) -> anyhow::Result<Answer> {
        let request = self.request(destination, path, headers)?;
        let stream = connect(destination).await.with_context(|| format!("cannot connect to {destination}"))?;
        if !self.scheme.eq_ignore_ascii_case("https") {
            return send(stream, request, BODY).await;
        }
        let unchecked =
            Arc::new(TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: true, ca: None, client: None });
        let (stream, _) = client::originate(identity, stream, &unchecked, &destination.ip().to_string(), &[b"http/1.1"]).await?;
        send(stream, request, BODY).await
    }

    /// The kubelet's headers, then the probe's own; Host names the real port unless the probe sets it.
    fn request(&self, destination: SocketAddr, path: &str, headers: &HeaderMap) -> anyhow::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(path).body(Empty::new())?;
        let map = request.headers_mut();
        let hop = [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE];
        map.extend(headers.iter().filter(|(name, _)| !hop.contains(name)).map(|(name, value)| (name.clone(), value.clone())));
        map.insert(header::HOST, HeaderValue::from_str(&destination.to_string())?);
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
        for Header { name, value } in &self.http_headers {
            map.insert(HeaderName::try_from(name)?, HeaderValue::from_str(value)?);
        }
        Ok(request)
    }
}

/// The path a redirect leads to, when it stays with the application.
fn redirect_within(answer: &Answer, destination: SocketAddr) -> Option<String> {
    let location: Uri = answer.head.headers.get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
    let stays = location.host().is_none_or(|host| host.trim_matches(['[', ']']) == destination.ip().to_string());
    let path = location.path_and_query()?.as_str();
    (stays && path.starts_with('/')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contracts_paths_are_probes() {
        for (path, is) in [
            ("/app-health/web/livez", true),
            ("/app-lifecycle/web/prestopz", true),
            ("/app-health/web/otherz", false),
            ("/app-health//livez", false),
            ("/app-health/a/b/livez", false),
            ("/elsewhere/web/livez", false),
        ] {
            assert_eq!(is_probe_path(path), is, "{path}");
        }
    }

    #[test]
    fn host_names_the_applications_port_unless_the_probe_says_otherwise() {
        let destination: SocketAddr = "10.0.0.7:8080".parse().expect("address");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("10.0.0.7:15020"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("kube-probe/1.30"));
        let mut probe = HttpGet { path: "/live".into(), port: 8080, scheme: String::new(), http_headers: vec![] };
        let request = probe.request(destination, "/live", &headers).expect("valid");
        assert_eq!(request.headers()[header::HOST], "10.0.0.7:8080");
        assert_eq!(request.headers()[header::USER_AGENT], "kube-probe/1.30");
        probe.http_headers.push(Header { name: "Host".into(), value: "web.example".into() });
        let request = probe.request(destination, "/live", &headers).expect("valid");
        assert_eq!(request.headers()[header::HOST], "web.example");
    }

    #[test]
    fn redirects_are_followed_only_within_the_application() {
        let destination: SocketAddr = "10.0.0.7:8080".parse().expect("address");
        for (location, next) in
            [("/next?a=1", Some("/next?a=1")), ("http://10.0.0.7:8080/x", Some("/x")), ("http://elsewhere.example/x", None)]
        {
            let response = http::Response::builder().header(header::LOCATION, location).body(()).expect("valid");
            let answer = Answer { head: response.into_parts().0, body: Bytes::new() };
            assert_eq!(redirect_within(&answer, destination).as_deref(), next, "{location}");
        }
    }
}
