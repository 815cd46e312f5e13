//! Application probes that the kubelet sends to us because the application's port is captured (sidecar contract 1.3).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use outrigger_config::model::TlsOrigination;
use serde::Deserialize;

use super::fetch::{Answer, connect, send, send_http2};
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
    status_port: u16,
    http2: bool,
}

/// What a probe's request depends on besides the probe.
struct Context<'a> {
    /// The kubelet's headers.
    headers: &'a HeaderMap,
    /// The port the kubelet asked at.
    status_port: u16,
    /// Whether HTTPS may become HTTP/2.
    http2: bool,
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
        let localhost = match settings.node.ip_addresses.first() {
            Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let pod = settings.node.ip_addresses.first().copied();
        Ok(Probes {
            by_path,
            destination: if settings.probe_localhost { Some(localhost) } else { pod },
            status_port: settings.ports.status,
            http2: settings.probe_http2,
        })
    }

    /// Carries out the probe of a path.
    pub async fn answer(&self, process: &Process, path: &str, headers: &HeaderMap) -> Response {
        let Some(prober) = self.by_path.get(path) else {
            return (StatusCode::BAD_REQUEST, format!("no probe is known for {path}\n")).into_response();
        };
        let time = Duration::from_secs(prober.timeout_seconds.max(1));
        let host = self.destination.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let context = Context { headers, status_port: self.status_port, http2: self.http2 };
        let outcome = tokio::time::timeout(time, prober.run(host, &process.identity, &context)).await;
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
    async fn run(&self, host: IpAddr, identity: &Identity, context: &Context<'_>) -> anyhow::Result<Response> {
        if let Some(http) = &self.http_get {
            return http.run(host, identity, context).await;
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

/// Where a probe's request goes within the application; redirects may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    https: bool,
    port: u16,
    /// With query.
    path: String,
}

impl HttpGet {
    async fn run(&self, host: IpAddr, identity: &Identity, context: &Context<'_>) -> anyhow::Result<Response> {
        let path = if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) };
        let mut place = Place { https: self.scheme.eq_ignore_ascii_case("https"), port: self.port, path };
        for _ in 0..=REDIRECTS {
            let answer = self.get(host, identity, &place, context).await?;
            if !answer.head.status.is_redirection() {
                return Ok((answer.head.status, answer.body).into_response());
            }
            match redirected(&answer, host, &place) {
                Some(next) => place = next,
                None => return Ok(StatusCode::OK.into_response()),
            }
        }
        bail!("stopped after {REDIRECTS} redirects")
    }

    async fn get(&self, host: IpAddr, identity: &Identity, place: &Place, context: &Context<'_>) -> anyhow::Result<Answer> {
        let destination = SocketAddr::new(host, place.port);
        let mut request = self.request(destination, &place.path, context)?;
        let stream = connect(destination).await.with_context(|| format!("cannot connect to {destination}"))?;
        if !place.https {
            return send(stream, request, BODY).await;
        }
        let unchecked =
            Arc::new(TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: true, ca: None, client: None });
        let offered: &[&[u8]] = if context.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        let (stream, peer) = client::originate(identity, stream, &unchecked, &destination.ip().to_string(), offered).await?;
        if peer.alpn.as_deref() != Some(b"h2") {
            return send(stream, request, BODY).await;
        }
        let authority = request.headers_mut().remove(header::HOST).unwrap_or(HeaderValue::try_from(destination.to_string())?);
        request.headers_mut().remove(header::CONNECTION);
        *request.uri_mut() = format!("https://{}{}", authority.to_str()?, place.path).parse()?;
        send_http2(stream, request, BODY).await
    }

    /// The kubelet's headers, then the probe's own; Host names the real port unless the probe sets it.
    fn request(&self, destination: SocketAddr, path: &str, context: &Context<'_>) -> anyhow::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(path).body(Empty::new())?;
        let map = request.headers_mut();
        let hop = [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE];
        map.extend(context.headers.iter().filter(|(name, _)| !hop.contains(name)).map(|(name, value)| (name.clone(), value.clone())));
        map.insert(header::HOST, HeaderValue::from_str(&host_header(context, destination))?);
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let own = self.http_headers.iter().map(|Header { name, value }| Ok((probe_header(name)?, HeaderValue::from_str(value)?)));
        let own: Vec<(HeaderName, HeaderValue)> = own.collect::<anyhow::Result<_>>()?;
        for (name, _) in &own {
            map.remove(name);
        }
        for (name, value) in own {
            map.append(name, value);
        }
        Ok(request)
    }
}

/// Probes may name the host as HTTP/2 does.
fn probe_header(name: &str) -> anyhow::Result<HeaderName> {
    if name == ":authority" { Ok(header::HOST) } else { Ok(HeaderName::try_from(name)?) }
}

/// The host that the kubelet asked for, with the application's port instead of the status port.
fn host_header(context: &Context<'_>, destination: SocketAddr) -> String {
    let asked = context.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = asked.and_then(|host| host.strip_suffix(&format!(":{}", context.status_port)));
    host.map_or_else(|| destination.to_string(), |host| format!("{host}:{}", destination.port()))
}

/// Where a redirect leads, when it stays with the application: on the same host, on whatever port and path.
fn redirected(answer: &Answer, host: IpAddr, from: &Place) -> Option<Place> {
    let location = answer.head.headers.get(header::LOCATION)?.to_str().ok()?;
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(Place { path: location.to_owned(), ..from.clone() });
    }
    if !location.contains("//") {
        let folder = from.path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
        return Some(Place { path: format!("{folder}/{location}"), ..from.clone() });
    }
    let location: Uri = location.parse().ok()?;
    let https = location.scheme_str() == Some("https");
    let stays = location.host().is_some_and(|named| named.trim_matches(['[', ']']).parse() == Ok(host));
    let port = location.port_u16().unwrap_or(if https { 443 } else { 80 });
    let path = location.path_and_query().map_or("/", |path| path.as_str());
    stays.then(|| Place { https, port, path: path.to_owned() })
}

#[cfg(test)]
mod tests;
