//! What a request looked like when it arrived, as JSON: the answer of `/headers`.

use std::collections::BTreeMap;

use http::{HeaderMap, request::Parts};
use serde::Serialize;

use super::{App, http::Client, tls::TlsFacts};

#[derive(Serialize)]
struct Seen<'a> {
    pod: &'a str,
    version: &'a str,
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    protocol: String,
    /// The `host` header, or HTTP/2's `:authority`.
    authority: Option<String>,
    /// Lower-case names; values of a repeated header joined by a comma.
    headers: BTreeMap<&'a str, String>,
    /// The peer of the TCP connection.
    client: String,
    tls: Option<&'a TlsFacts>,
}

/// The request and its client as one line of JSON.
pub(crate) fn describe(app: &App, client: &Client, request: &Parts) -> String {
    let host = request.headers.get(http::header::HOST).map(|value| lossy(value.as_bytes()));
    let seen = Seen {
        pod: &app.hostname,
        version: &app.version,
        method: request.method.as_str(),
        path: request.uri.path(),
        query: request.uri.query(),
        protocol: format!("{:?}", request.version),
        authority: request.uri.authority().map(ToString::to_string).or(host),
        headers: joined(&request.headers),
        client: client.address.to_string(),
        tls: client.tls.as_ref(),
    };
    serde_json::to_string(&seen).unwrap_or_default() + "\n"
}

fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let text = lossy(value.as_bytes());
        all.entry(name.as_str())
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(&text);
            })
            .or_insert(text);
    }
    all
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
