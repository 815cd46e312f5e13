//! Merged metrics: the agent's, the proxy's, then the application's (sidecar contract 1.2).
//!
//! The application comes last because an OpenMetrics body ends in `# EOF`. A part that fails never fails the scrape; it
//! is counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::Request;

use super::agent_metrics::{self, APPLICATION_FAILURES, SCRAPES};
use super::fetch::{Answer, fetch};
use super::scrape_targets::ScrapeTarget;
use super::server::Status;
use crate::admin;
use crate::telemetry::encode::CONTENT_TYPE;

/// Longest application body taken.
const LIMIT: usize = 10 << 20;
/// Time for the application when the scraper does not say.
const TIME: Duration = Duration::from_secs(10);
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// A merged exposition.
pub struct Merged {
    /// The application's content type if there is one, else our own.
    pub content_type: HeaderValue,
    /// The text.
    pub body: Vec<u8>,
}

/// Scrapes everything.
pub async fn metrics(status: &Status, headers: &HeaderMap) -> Merged {
    SCRAPES.fetch_add(1, Ordering::Relaxed);
    let answers = join_all(status.targets.0.iter().map(|target| scrape(target, headers))).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count() as u64;
    APPLICATION_FAILURES.fetch_add(failed, Ordering::Relaxed);
    let answers: Vec<Answer> = answers.into_iter().filter_map(Result::ok).collect();
    let mut body = agent_metrics::exposition(&status.process).into_bytes();
    body.extend_from_slice(admin::prometheus(&status.process).as_bytes());
    join(body, &answers)
}

/// Appends the application's answers; several of different formats fall back to text.
fn join(mut body: Vec<u8>, answers: &[Answer]) -> Merged {
    let own = HeaderValue::from_static(CONTENT_TYPE);
    let type_of = |answer: &Answer| answer.head.headers.get(header::CONTENT_TYPE).cloned().unwrap_or_else(|| own.clone());
    let first = answers.first().map(type_of).unwrap_or_else(|| own.clone());
    let same = answers.iter().all(|answer| type_of(answer) == first);
    for (position, answer) in answers.iter().enumerate() {
        let is_last = position + 1 == answers.len();
        let text = if is_last && same { &answer.body[..] } else { without_eof(&answer.body) };
        body.extend_from_slice(text);
        if !text.is_empty() && !text.ends_with(b"\n") {
            body.push(b'\n');
        }
    }
    Merged { content_type: if same { first } else { own }, body }
}

fn without_eof(body: &[u8]) -> &[u8] {
    let trimmed = body.trim_ascii_end();
    trimmed.strip_suffix(b"# EOF").unwrap_or(body)
}

/// The application may listen on either loopback address.
async fn scrape(target: &ScrapeTarget, headers: &HeaderMap) -> anyhow::Result<Answer> {
    match scrape_at(Ipv4Addr::LOCALHOST.into(), target, headers).await {
        Err(error) if error.is::<std::io::Error>() => scrape_at(Ipv6Addr::LOCALHOST.into(), target, headers).await,
        outcome => outcome,
    }
}

async fn scrape_at(localhost: IpAddr, target: &ScrapeTarget, headers: &HeaderMap) -> anyhow::Result<Answer> {
    let mut request =
        Request::get(&target.path).header(header::HOST, format!("localhost:{}", target.port)).header(header::ACCEPT, accepted(headers));
    for name in [SCRAPE_TIMEOUT, header::USER_AGENT.as_str()] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let seconds = headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(TIME).min(TIME * 6);
    let destination = (localhost, target.port).into();
    let answer = fetch(destination, request.body(Empty::<Bytes>::new())?, LIMIT, time).await?;
    anyhow::ensure!(answer.head.status.is_success(), "the application answered {}", answer.head.status);
    let body = whole_lines(answer.body, LIMIT);
    Ok(Answer { body, ..answer })
}

/// A body that was cut at the limit ends with its last whole line: half a line would spoil what follows it.
fn whole_lines(body: Bytes, limit: usize) -> Bytes {
    if body.len() < limit {
        return body;
    }
    let end = memchr::memrchr(b'\n', &body).map_or(0, |last| last + 1);
    body.slice(..end)
}

/// What the scraper accepts, cut down to the formats that can be joined.
fn accepted(headers: &HeaderMap) -> String {
    let asked = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("text/plain");
    let usable = |entry: &&str| ["text/", "application/openmetrics-text"].iter().any(|kind| entry.trim().starts_with(kind));
    let kept: Vec<&str> = asked.split(',').filter(usable).map(str::trim).collect();
    if kept.is_empty() { "text/plain".to_owned() } else { kept.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(content_type: &'static str, body: &'static str) -> Answer {
        let response = http::Response::builder().header(header::CONTENT_TYPE, content_type).body(()).expect("valid");
        Answer { head: response.into_parts().0, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn one_application_keeps_its_content_type_and_end() {
        let merged = join(b"own 1\n".to_vec(), &[answer("application/openmetrics-text", "app 1\n# EOF\n")]);
        assert_eq!(merged.content_type, "application/openmetrics-text");
        assert_eq!(merged.body, b"own 1\napp 1\n# EOF\n");
    }

    #[test]
    fn the_end_mark_stands_only_behind_the_last_of_several() {
        let one = || answer("application/openmetrics-text", "app 1\n# EOF\n");
        assert_eq!(join(vec![], &[one(), one()]).body, b"app 1\napp 1\n# EOF\n");
        let mixed = join(vec![], &[one(), answer("text/plain", "b 2")]);
        assert_eq!(mixed.content_type, CONTENT_TYPE);
        assert_eq!(mixed.body, b"app 1\nb 2\n");
    }

    #[test]
    fn a_body_cut_at_the_limit_ends_with_a_whole_line() {
        for (body, expected) in [("a 1\nb 2\n", "a 1\nb 2\n"), ("a 1\nb 22", "a 1\n"), ("aaaaaaaa", ""), ("a 1", "a 1")] {
            assert_eq!(whole_lines(Bytes::from_static(body.as_bytes()), 8), expected, "{body:?}");
        }
    }

    #[test]
    fn only_text_formats_are_asked_for() {
        let mut headers = HeaderMap::new();
        assert_eq!(accepted(&headers), "text/plain");
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/vnd.google.protobuf;q=1, application/openmetrics-text;q=0.8,text/plain"),
        );
        assert_eq!(accepted(&headers), "application/openmetrics-text;q=0.8, text/plain");
    }
}
