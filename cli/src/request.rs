//! `outrigger request METHOD PATH [BODY]`: ask the pod's own proxy something. Lifecycle hooks and istioctl call it.
//!
//! Source: sidecar contract section 0. Only the body goes to standard output, because callers parse it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use outrigger_proxy::bootstrap::Ports;

use crate::failure::WrongUsage;
use crate::stdio;

const TIME: Duration = Duration::from_secs(60);
/// Ports that may be asked: the proxy's own. Those that this pod has set otherwise are added.
const PORTS: [u16; 4] = [15000, 15004, 15020, 15021];

/// What to ask.
#[derive(clap::Args)]
pub struct RequestArgs {
    /// Port on localhost: 15000, 15004, 15020 or 15021, or what this pod has instead of one of them
    #[arg(long, default_value_t = 15000, value_name = "PORT")]
    debug_port: u16,
    /// GET, POST, ...
    method: String,
    /// Path with query, with or without the leading slash
    path: String,
    /// Body to send
    body: Option<String>,
}

/// Sends the request and prints the answer's body. A status above 399 fails, except 404.
///
/// # Errors
/// A port that is not the proxy's, no answer within 60 s.
pub fn run(args: &RequestArgs) -> anyhow::Result<ExitCode> {
    let own = Ports::of_this_pod();
    if !PORTS.contains(&args.debug_port) && ![own.admin, own.status, own.health].contains(&args.debug_port) {
        bail!(WrongUsage::new(format!("port {} is not the proxy's: expected one of {PORTS:?}", args.debug_port)));
    }
    let answer = send(&args.method, args.debug_port, &args.path, args.body.as_deref().unwrap_or_default(), TIME)?;
    if answer.status > 399 && answer.status != 404 {
        bail!("the proxy answered {}: {}", answer.status, answer.body.trim_end());
    }
    stdio::print_line(&answer.body)?;
    Ok(ExitCode::SUCCESS)
}

/// An answer of the proxy.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, as text.
    pub body: String,
}

/// One HTTP/1.0 request to localhost: the answer ends with the connection, so no framing has to be understood.
///
/// # Errors
/// No connection, no answer in time, or one that is not HTTP.
pub fn send(method: &str, port: u16, path: &str, body: &str, time: Duration) -> anyhow::Result<Answer> {
    let deadline = Instant::now() + time;
    let mut stream = connect(port, time)?;
    stream.set_write_timeout(Some(time))?;
    let path = path.trim_start_matches('/');
    let length = body.len();
    write!(stream, "{method} /{path} HTTP/1.0\r\nhost: localhost:{port}\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        anyhow::ensure!(!left.is_zero(), "no complete answer within {time:?}");
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk).with_context(|| format!("no answer from localhost:{port}"))? {
            0 => break,
            read => bytes.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
    parse(&String::from_utf8_lossy(&bytes)).with_context(|| format!("localhost:{port} does not speak HTTP"))
}

fn connect(port: u16, time: Duration) -> anyhow::Result<TcpStream> {
    let mut refused = None;
    // By address: an image without /etc/hosts has no name `localhost`.
    for localhost in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        match TcpStream::connect_timeout(&(localhost, port).into(), time) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let refused = refused.unwrap_or_else(|| io::ErrorKind::NotConnected.into());
    Err(refused).with_context(|| format!("cannot connect to localhost:{port}"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nwhy\n").expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (503, "why\n"));
        assert!(parse("SSH-2.0-OpenSSH\r\n\r\n").is_none());
        assert!(parse("").is_none());
    }
}
