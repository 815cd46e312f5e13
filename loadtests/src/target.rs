//! A URL taken apart, and the request for it, prepared once.

use std::str::FromStr;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, Version, header};

use crate::plan::Plan;

/// What a URL's scheme selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, in the clear.
    Http,
    /// `https`, over TLS.
    Https,
    /// `ws`: one upgrade and one echoed message per request.
    WebSocket,
    /// `tcp`: one connection per request that sends the body, if any, and reads one line; or echoes.
    Tcp,
}

/// A URL taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as the `host` header wants them.
    pub(crate) authority: HeaderValue,
    pub(crate) path_and_query: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let expected = || {
            let hint = if url.contains("://") || url.starts_with('/') { String::new() } else { format!(", such as http://{url}") };
            format!("{url:?}: expected http, https, ws or tcp://HOST[:PORT][/PATH]{hint}")
        };
        let uri: Uri = url.parse().with_context(expected)?;
        let (scheme, default_port) = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("http") => (Scheme::Http, Some(80)),
            Some("https") => (Scheme::Https, Some(443)),
            Some("ws") => (Scheme::WebSocket, Some(80)),
            Some("tcp") => (Scheme::Tcp, None),
            _ => return Err(anyhow!(expected())),
        };
        let authority = uri.authority().with_context(expected)?;
        let after_host = authority.as_str().strip_prefix(authority.host());
        let Some(port) = after_host else {
            return Err(anyhow!("{url:?}: credentials in a URL are not sent, expected them in -H 'authorization: ...'"));
        };
        if port.len() > 1 && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(anyhow!("{url:?}: expected a port from 1 to 65535"));
        }
        let no_port = || format!("{url:?}: a tcp URL names its port, expected tcp://{}:PORT", authority.host());
        Ok(Self {
            scheme,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().or(default_port).with_context(no_port)?,
            authority: HeaderValue::from_str(authority.as_str()).with_context(expected)?,
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl Target {
    /// Whether connections to one may carry requests to the other.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }
}

/// The `host` header of the plan, else the URL's host and port.
pub(crate) fn authority<'a>(plan: &'a Plan, target: &'a Target) -> &'a HeaderValue {
    plan.headers.iter().find(|(name, _)| *name == header::HOST).map_or(&target.authority, |(_, value)| value)
}

/// A request ready to be sent as often as wanted.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// The bytes of the whole request; whether its answer has no body.
    Http1 { bytes: Vec<u8>, bodiless: bool },
    /// Head and body.
    Http2 { head: Box<Request<()>>, body: Bytes },
    /// Made as it is sent.
    Raw,
}

impl Prepared {
    /// # Errors
    /// A host that cannot stand in an HTTP/2 authority.
    pub(crate) fn new(plan: &Plan, target: &Target) -> anyhow::Result<Self> {
        match target.scheme {
            Scheme::WebSocket | Scheme::Tcp => Ok(Self::Raw),
            Scheme::Http | Scheme::Https if plan.speaks_http2() => {
                Ok(Self::Http2 { head: Box::new(http2_head(plan, target)?), body: body(plan) })
            }
            Scheme::Http | Scheme::Https => Ok(Self::Http1 { bytes: http1_bytes(plan, target), bodiless: plan.method == Method::HEAD }),
        }
    }
}

fn http1_bytes(plan: &Plan, target: &Target) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", plan.method, target.path_and_query).into_bytes();
    let mut line = |name: &str, value: &[u8]| bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    line("host", authority(plan, target).as_bytes());
    for (name, value) in plan.headers.iter().filter(|(name, _)| *name != header::HOST) {
        line(name.as_str(), value.as_bytes());
    }
    let framed = |(name, _): &(header::HeaderName, HeaderValue)| [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name);
    let may_have_body = !plan.body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(&plan.method);
    if may_have_body && !plan.headers.iter().any(framed) {
        line("content-length", plan.body.len().to_string().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&plan.body);
    bytes
}

fn http2_head(plan: &Plan, target: &Target) -> anyhow::Result<Request<()>> {
    let scheme = if target.scheme == Scheme::Https { "https" } else { "http" };
    let authority = authority(plan, target).to_str().context("the host cannot stand in an HTTP/2 request")?;
    let mut request = Request::new(());
    *request.uri_mut() = format!("{scheme}://{authority}{}", target.path_and_query).parse().context("unusable URL")?;
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = if plan.grpc { Method::POST } else { plan.method.clone() };
    let headers = request.headers_mut();
    for (name, value) in plan.headers.iter().filter(|(name, _)| *name != header::HOST) {
        headers.append(name, value.clone());
    }
    if plan.grpc {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else if !plan.body.is_empty() && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, plan.body.len().into());
    }
    Ok(request)
}

/// The plan's body; for gRPC behind the five bytes that say "uncompressed, so long".
fn body(plan: &Plan) -> Bytes {
    let mut bytes = Vec::with_capacity(plan.body.len() + 5);
    if plan.grpc {
        bytes.push(0);
        bytes.extend_from_slice(&u32::try_from(plan.body.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.extend_from_slice(&plan.body);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_and_path() -> anyhow::Result<()> {
        let target: Target = "http://[::1]:8080/a?b=c".parse()?;
        assert_eq!((target.host.as_str(), target.port, target.path_and_query.as_str()), ("::1", 8080, "/a?b=c"));
        assert_eq!(target.authority, "[::1]:8080");
        assert_eq!("https://shop.example".parse::<Target>()?.port, 443);
        assert_eq!("WS://shop.example".parse::<Target>()?.scheme, Scheme::WebSocket, "schemes are the same in capitals");
        Ok(())
    }

    #[test]
    fn a_url_without_scheme_or_tcp_without_port_is_refused() {
        for url in ["shop.example", "/path", "ftp://a", "tcp://a"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_refused_rather_than_replaced_by_the_default() {
        for url in ["http://a:99999/", "http://a:0/", "http://[::1]:70000"] {
            let error = url.parse::<Target>().expect_err(url).to_string();
            assert!(error.contains("port from 1 to 65535"), "{error}");
        }
        assert_eq!("http://a:/".parse::<Target>().map(|target| target.port).ok(), Some(80), "an empty port is the default one");
    }

    #[test]
    fn what_a_url_lacks_or_cannot_say_is_told() {
        let error = |url: &str| url.parse::<Target>().expect_err(url).to_string();
        assert!(error("127.0.0.1:8080/x").contains("such as http://127.0.0.1:8080/x"), "{}", error("127.0.0.1:8080/x"));
        assert!(error("tcp://127.0.0.1").contains("expected tcp://127.0.0.1:PORT"), "{}", error("tcp://127.0.0.1"));
        assert!(error("http://me:secret@shop/").contains("authorization"), "a user's name must not become a host header");
    }

    #[test]
    fn an_http_1_request_is_laid_out_once_with_host_length_and_body() -> anyhow::Result<()> {
        let plan = Plan { method: Method::POST, body: b"hi".to_vec(), ..Plan::new("http://a:81/b?c", 1) }.header("x-user", "jason")?;
        let bytes = http1_bytes(&plan, &plan.url.parse()?);
        assert_eq!(String::from_utf8(bytes)?, "POST /b?c HTTP/1.1\r\nhost: a:81\r\nx-user: jason\r\ncontent-length: 2\r\n\r\nhi");
        let plain = Plan::new("http://a", 1).header("host", "shop")?;
        assert_eq!(http1_bytes(&plain, &plain.url.parse()?), b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
        Ok(())
    }

    #[test]
    fn a_grpc_body_carries_its_length() {
        let plan = Plan { grpc: true, body: b"hi".to_vec(), ..Plan::new("http://a", 1) };
        assert_eq!(&body(&plan)[..], b"\0\0\0\0\x02hi");
    }
}
