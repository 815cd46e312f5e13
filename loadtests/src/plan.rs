//! What to send: the plan of one run.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, anyhow};
use http::{HeaderName, HeaderValue, Method, Uri};
use regex_automata::meta::Regex;

/// How many requests, or for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Exactly so many requests.
    Requests(u64),
    /// Requests are started for so long; those in flight then are still awaited.
    For(Duration),
}

/// What a URL's scheme selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, in the clear.
    Http,
    /// `https`, over TLS.
    Https,
    /// `ws`: one upgrade and one echoed message per request.
    WebSocket,
    /// `tcp`: one connection per request; sends the body, if any, and reads one line.
    Tcp,
}

/// A property of the answers to count the values of.
#[derive(Clone, Debug)]
pub struct CountBy {
    /// The key under which [`crate::Report::groups`] holds the counts: the text it was made from.
    pub name: String,
    pub(crate) property: Property,
}

#[derive(Clone, Debug)]
pub(crate) enum Property {
    /// The header's value, or what a pattern finds in it.
    Header(HeaderName, Option<Box<Regex>>),
    /// The first group of the pattern, or its whole match when it has none.
    Body(Box<Regex>),
}

impl FromStr for CountBy {
    type Err = anyhow::Error;

    /// `header:NAME`, `header:NAME~REGEX` or `body:REGEX`. A regular expression counts its first group, or its whole
    /// match when it has none.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let property = match text.split_once(':') {
            Some(("header", rest)) => {
                let (name, pattern) = rest.split_once('~').map_or((rest, None), |(name, pattern)| (name, Some(pattern)));
                let name = name.parse().with_context(|| format!("{name:?} is no header name"))?;
                Property::Header(name, pattern.map(Regex::new).transpose()?.map(Box::new))
            }
            Some(("body", pattern)) => Property::Body(Box::new(Regex::new(pattern)?)),
            _ => return Err(anyhow!("{text:?}: expected header:NAME, header:NAME~REGEX or body:REGEX")),
        };
        Ok(Self { name: text.to_owned(), property })
    }
}

/// TLS of `https` URLs. The server name is the URL's host.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file of the roots to trust; required unless `insecure`.
    pub roots: Option<PathBuf>,
    /// PEM files of the certificate chain and the key to show the server.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Accept any server certificate.
    pub insecure: bool,
}

/// Everything about one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to, as written: `SCHEME://HOST[:PORT][/PATH][?QUERY]`.
    pub url: String,
    /// How much.
    pub amount: Amount,
    /// Requests in flight at a time, at least 1.
    pub concurrency: usize,
    /// Connect here instead of to the URL's host and port.
    pub connect: Option<SocketAddr>,
    /// HTTP/2 with prior knowledge (or by ALPN over TLS) instead of HTTP/1.1.
    pub http2: bool,
    /// HTTP/2 connections to spread the requests over, at least 1. With HTTP/1.1 each request in flight has its own.
    pub connections: usize,
    /// A new connection for every request.
    pub new_connections: bool,
    /// Frame the body as one gRPC message and ask for it as gRPC does; implies HTTP/2.
    pub grpc: bool,
    /// The request method.
    pub method: Method,
    /// Further request headers; `host` here replaces the URL's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The request body.
    pub body: Vec<u8>,
    /// Start at most so many requests per second, evenly. Latency then counts from the time a request was due.
    pub rate: Option<f64>,
    /// A request without a complete answer by then is an error.
    pub timeout: Duration,
    /// TLS settings of an `https` URL.
    pub tls: Tls,
    /// Further properties to count.
    pub count_by: Vec<CountBy>,
    /// Keep each answer in the report, not only its counts.
    pub keep_answers: bool,
    /// Keep response headers with the answers.
    pub keep_headers: bool,
    /// Keep the first 64 KiB of response bodies with the answers.
    pub keep_bodies: bool,
}

impl Plan {
    /// A plan for `requests` GETs, one at a time, over one kept-alive HTTP/1.1 connection, answers kept.
    pub fn new(url: impl Into<String>, requests: u64) -> Self {
        Self {
            url: url.into(),
            amount: Amount::Requests(requests),
            concurrency: 1,
            connect: None,
            http2: false,
            connections: 1,
            new_connections: false,
            grpc: false,
            method: Method::GET,
            headers: Vec::new(),
            body: Vec::new(),
            rate: None,
            timeout: Duration::from_secs(30),
            tls: Tls::default(),
            count_by: Vec::new(),
            keep_answers: true,
            keep_headers: false,
            keep_bodies: false,
        }
    }

    /// The same plan with one more request header.
    ///
    /// # Errors
    /// A name or value that HTTP does not allow.
    pub fn header(mut self, name: &str, value: &str) -> anyhow::Result<Self> {
        let name: HeaderName = name.parse().with_context(|| format!("{name:?} is no header name"))?;
        let value = HeaderValue::from_str(value).with_context(|| format!("header {name}: unusable value {value:?}"))?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// The URL's parts.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        self.url.parse()
    }
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
        let expected = || format!("{url:?}: expected http, https, ws or tcp://HOST[:PORT][/PATH]");
        let uri: Uri = url.parse().with_context(expected)?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, Some(80)),
            Some("https") => (Scheme::Https, Some(443)),
            Some("ws") => (Scheme::WebSocket, Some(80)),
            Some("tcp") => (Scheme::Tcp, None),
            _ => return Err(anyhow!(expected())),
        };
        let authority = uri.authority().with_context(expected)?;
        Ok(Self {
            scheme,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().or(default_port).with_context(expected)?,
            authority: HeaderValue::from_str(authority.as_str()).with_context(expected)?,
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
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
        Ok(())
    }

    #[test]
    fn a_url_without_scheme_or_tcp_without_port_is_refused() {
        for url in ["shop.example", "/path", "ftp://a", "tcp://a"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_property_to_count_is_a_header_or_a_body_pattern() {
        assert!("header:x-pod".parse::<CountBy>().is_ok());
        assert!("header:x-pod~^[a-z]+".parse::<CountBy>().is_ok());
        assert!("body:v[0-9]".parse::<CountBy>().is_ok());
        for text in ["x-pod", "header:a b", "header:a~(", "body:(", "status:200"] {
            assert!(text.parse::<CountBy>().is_err(), "{text}");
        }
    }
}
