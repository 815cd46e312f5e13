//! Just enough HTTP/1.1 to send fixed messages and to see where the other side's end.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::scenario::{ANSWER_BYTES, HOST, Scenario};

/// Headers of a request beside `host`.
pub fn request_headers(scenario: &Scenario) -> &'static [(&'static str, &'static str)] {
    if scenario.headers { HEADERS } else { HEADERS.split_at(3).0 }
}

/// What curl sends behind another proxy, then what service clients add.
const HEADERS: &[(&str, &str)] = &[
    ("user-agent", "counts/1"),
    ("accept", "application/json, */*"),
    ("x-request-id", "7f1c0c9e-1f0a-4d6e-9a55-2b7c1f4f8f10"),
    ("accept-encoding", "gzip, deflate"),
    ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJiZW5jaCJ9.c2lnbmF0dXJl"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

/// Headers of an answer.
pub const ANSWER_HEADERS: &[(&str, &str)] =
    &[("content-type", "application/json"), ("date", "Fri, 20 Nov 2026 11:40:41 GMT"), ("server", "origin")];

/// The request of a scenario.
pub fn request(scenario: &Scenario) -> Vec<u8> {
    let (method, length) = match scenario.body_bytes() {
        0 => ("GET", String::new()),
        bytes => ("POST", format!("content-length: {bytes}\r\n")),
    };
    let head = format!("{method} {} HTTP/1.1\r\nhost: {HOST}\r\n{}{length}\r\n", scenario.path(), lines(request_headers(scenario)));
    [head.into_bytes(), vec![b'x'; scenario.body_bytes()]].concat()
}

/// The answer of the origin.
pub fn answer() -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{}content-length: {ANSWER_BYTES}\r\n\r\n", lines(ANSWER_HEADERS));
    [head.into_bytes(), vec![b'y'; ANSWER_BYTES]].concat()
}

fn lines(headers: &[(&str, &str)]) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Reads messages that follow each other on one connection, none of which begins before the one before was answered.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// The first line of the next message, read with its body; `None` at the end of the stream.
    pub async fn message(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<String>> {
        self.bytes.clear();
        loop {
            if let Some(first_line) = self.complete()? {
                return Ok(Some(first_line));
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                ensure!(self.bytes.is_empty(), "the proxy closed a connection in the middle of a message");
                return Ok(None);
            }
        }
    }

    fn complete(&self) -> Result<Option<String>> {
        let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let (head, body) = self.bytes.split_at(end + 4);
        let head = std::str::from_utf8(head)?;
        let length = head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map_or(Ok(0), |(_, value)| value.parse()).context("content-length")?;
        if body.len() > length {
            bail!("more than one message at once: {head}");
        }
        Ok((body.len() == length).then(|| head.lines().next().unwrap_or_default().to_owned()))
    }
}
