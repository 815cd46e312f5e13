//! One HTTP request and its answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use regex_automata::meta::Regex;

use crate::{
    answer::{Answer, Cause, Failure},
    plan::{Plan, Property, Scheme, Target},
    pool::{Dialer, RequestBody, Sender, Slot},
};

/// How much of a body is kept to be looked at.
const KEPT_BODY: usize = 64 * 1024;

/// Sends one request over the slot's connection and fills in what came back.
pub(crate) async fn exchange(plan: &Plan, dialer: &Dialer, slot: &Slot, answer: &mut Answer) -> Result<(), Failure> {
    if plan.new_connections {
        slot.forget().await;
    }
    let request = request(plan, &dialer.target)?;
    let (sender, response) = send(dialer, slot, request).await?;
    read(plan, response, answer).await?;
    if !plan.new_connections {
        slot.keep(sender).await;
    }
    Ok(())
}

/// Sends; a request that hyper hands back unsent, because the kept connection had just been closed, gets a new one.
async fn send(dialer: &Dialer, slot: &Slot, request: Request<RequestBody>) -> Result<(Sender, Response<Incoming>), Failure> {
    let mut request = request;
    let mut second_try = false;
    loop {
        let mut sender = slot.sender(dialer).await?;
        let outcome = match &mut sender {
            Sender::Http1(connection) => connection.try_send_request(request).await,
            Sender::Http2(connection) => connection.try_send_request(request).await,
        };
        match outcome {
            Ok(response) => return Ok((sender, response)),
            Err(mut error) => match error.take_message() {
                Some(unsent) if !second_try => {
                    slot.forget().await;
                    request = unsent;
                    second_try = true;
                }
                _ => return Err(failure(error.error())),
            },
        }
    }
}

fn failure(error: &hyper::Error) -> Failure {
    let cause = if error.is_parse() { Cause::Protocol } else { Cause::Closed };
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    Failure::new(cause, format!("{error}{source}"))
}

/// Builds the request as the plan's protocol wants it.
fn request(plan: &Plan, target: &Target) -> Result<Request<RequestBody>, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::new(Cause::Protocol, format!("unusable request: {error}"));
    let mut request = Request::new(Full::new(body(plan)));
    *request.method_mut() = if plan.grpc { http::Method::POST } else { plan.method.clone() };
    let headers = request.headers_mut();
    for (name, value) in plan.headers.iter().filter(|(name, _)| *name != header::HOST) {
        headers.append(name, value.clone());
    }
    if plan.grpc {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let authority = authority(plan, target);
    if plan.http2 || plan.grpc {
        let scheme = if target.scheme == Scheme::Https { "https" } else { "http" };
        let authority = authority.to_str().map_err(|error| bad(&error))?;
        let uri = format!("{scheme}://{authority}{}", target.path_and_query);
        *request.uri_mut() = uri.parse().map_err(|error| bad(&error))?;
        *request.version_mut() = Version::HTTP_2;
    } else {
        headers.insert(header::HOST, authority.clone());
        *request.uri_mut() = target.path_and_query.parse().map_err(|error| bad(&error))?;
    }
    Ok(request)
}

/// The `host` header of the plan, else the URL's host and port.
pub(crate) fn authority<'a>(plan: &'a Plan, target: &'a Target) -> &'a HeaderValue {
    plan.headers.iter().find(|(name, _)| *name == header::HOST).map_or(&target.authority, |(_, value)| value)
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

/// Reads the answer to its end.
async fn read(plan: &Plan, response: Response<Incoming>, answer: &mut Answer) -> Result<(), Failure> {
    let (head, mut body) = response.into_parts();
    answer.status = Some(head.status.as_u16());
    answer.grpc_status = text(&head.headers, "grpc-status");
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(Cause::Body, error))?;
        if let Some(data) = frame.data_ref() {
            answer.bytes += data.len() as u64;
            let room = KEPT_BODY.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(data.get(..room).unwrap_or_default());
        } else if let Some(trailers) = frame.trailers_ref() {
            answer.grpc_status = text(trailers, "grpc-status").or(answer.grpc_status.take());
        }
    }
    describe(plan, &head.headers, &kept, answer);
    Ok(())
}

/// Fills in who answered, and what else the plan wants to know.
pub(crate) fn describe(plan: &Plan, headers: &HeaderMap, body: &[u8], answer: &mut Answer) {
    let (pod, version) = signature(body).unzip();
    answer.pod = text(headers, "x-pod").or(pod);
    answer.version = text(headers, "x-version").or(version);
    answer.values = plan.count_by.iter().map(|count| value(&count.property, headers, body)).collect();
    if plan.keep_headers {
        answer.headers = headers.keys().filter_map(|name| Some((name.to_string(), joined(headers, name)?))).collect::<BTreeMap<_, _>>();
    }
    if plan.keep_bodies {
        answer.body = Some(String::from_utf8_lossy(body).into_owned());
    }
}

/// Pod and version of a body that consists of one line `POD:VERSION`.
fn signature(body: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(body).ok()?.trim_end();
    let (pod, version) = line.split_once(':')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (plain(pod) && plain(version)).then(|| (pod.to_owned(), version.to_owned()))
}

fn value(property: &Property, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    match property {
        Property::Header(name, None) => joined(headers, name),
        Property::Header(name, Some(pattern)) => found(pattern, joined(headers, name)?.as_bytes()),
        Property::Body(pattern) => found(pattern, body),
    }
}

/// The pattern's first group, or its whole match when it has none.
fn found(pattern: &Regex, text: &[u8]) -> Option<String> {
    let mut captures = pattern.create_captures();
    pattern.captures(text, &mut captures);
    let span = captures.get_group(1).or_else(|| captures.get_group(0))?;
    Some(String::from_utf8_lossy(text.get(span.range())?).into_owned())
}

fn joined(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let all: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::CountBy;

    #[test]
    fn a_body_of_one_line_names_pod_and_version_and_other_bodies_do_not() {
        assert_eq!(signature(b"web-1:v2\n"), Some(("web-1".into(), "v2".into())));
        for body in [&b"no healthy upstream"[..], b"{\"a\":1}", b"a:", b"\xff:v1"] {
            assert_eq!(signature(body), None, "{body:?}");
        }
    }

    #[test]
    fn a_pattern_counts_its_first_group_or_the_whole_match() -> anyhow::Result<()> {
        let count = |pattern: &str| pattern.parse::<CountBy>().map(|by| value(&by.property, &HeaderMap::new(), b"id=7;x"));
        assert_eq!(count("body:id=([0-9])")?, Some("7".into()));
        assert_eq!(count("body:id=[0-9]")?, Some("id=7".into()));
        assert_eq!(count("body:nothing")?, None);
        Ok(())
    }

    #[test]
    fn a_grpc_body_carries_its_length() {
        let plan = Plan { grpc: true, body: b"hi".to_vec(), ..Plan::new("http://a", 1) };
        assert_eq!(&body(&plan)[..], b"\0\0\0\0\x02hi");
    }
}
