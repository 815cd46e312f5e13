//! HTTP/2: the load of `h2load`, an origin that is `nghttpd`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::measure::Figures;
use super::process::{self, Process};
use super::{machine, peers};

/// Streams on each connection.
const STREAMS: usize = 100;

/// The preface with empty SETTINGS; whoever speaks HTTP/2 answers with a frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Fails unless somebody at this address speaks HTTP/2.
///
/// # Errors
/// Nobody listens, or the answer is none.
pub fn greet(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(PREFACE)?;
    stream.read_exact(&mut [0; 9])
}

/// Starts `nghttpd` with a file of 1 KiB.
///
/// # Errors
/// It is not installed, or does not listen in time.
pub fn origin(port: u16, work: &Path, cpu: usize) -> Result<Process> {
    let folder = work.join("htdocs/b");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("1024"), [b'a'; 1024])?;
    let program = peers::in_path("nghttpd").context("nghttpd is not installed (Debian package nghttp2-server)")?;
    let mut command = Command::new(program);
    command.args(["--no-tls", "-n1", "-m", "1000", "-d"]).arg(work.join("htdocs")).arg(port.to_string());
    let mut process = Process::start(&mut command, Some(cpu), &work.join("nghttpd.log"))?;
    let began = Instant::now();
    while let Err(error) = greet(SocketAddr::from(([127, 0, 0, 1], port))) {
        process.check()?;
        if began.elapsed() > Duration::from_secs(10) {
            bail!("nghttpd: {error}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(process)
}

/// A closed loop of about `window` through the proxy at `port`.
///
/// # Errors
/// `h2load` is missing or prints something else than expected.
pub fn measure(port: u16, connections: usize, window: Duration, cpu: usize, pids: &[i32]) -> Result<Figures> {
    // The first run warms up and tells how many requests fill the window.
    let trial = connections * 1000;
    let began = Instant::now();
    load(port, connections, trial, cpu)?;
    let per_second = trial as f64 / began.elapsed().as_secs_f64();
    let requests = ((per_second * window.as_secs_f64()) as usize).max(trial);
    let (before, began) = (process::cpu(pids), Instant::now());
    let done = load(port, connections, requests, cpu)?;
    let (used, elapsed) = (process::cpu(pids) - before, began.elapsed());
    let mut figures = Figures::from([
        ("requests".to_owned(), done as f64),
        ("errors".to_owned(), (requests - done.min(requests)) as f64),
        ("rps".to_owned(), done as f64 / elapsed.as_secs_f64()),
        ("cpu_us".to_owned(), used.run as f64 / 1e3 / done.max(1) as f64),
        ("busy".to_owned(), used.run as f64 / elapsed.as_nanos() as f64),
    ]);
    figures.extend(used.system_share().map(|share| ("kernel".to_owned(), share)));
    Ok(figures)
}

/// Requests that were answered with 2xx.
fn load(port: u16, connections: usize, requests: usize, cpu: usize) -> Result<usize> {
    let mut command = Command::new("h2load");
    command.args(["-t1", "-c", &connections.to_string(), "-m", &STREAMS.to_string(), "-n", &requests.to_string()]);
    for header in [
        "accept: application/json, */*",
        "authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJiZW5jaCJ9.c2lnbmF0dXJl",
        "x-request-id: 7f1c0c9e-1f0a-4d6e-9a55-2b7c1f4f8f10",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        command.args(["-H", header]);
    }
    command.arg(format!("http://127.0.0.1:{port}/b/1024"));
    let output = machine::on_cpu(Some(cpu), || command.output()).context("h2load (Debian package nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    answered(&text).with_context(|| format!("h2load: {} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim()))
}

/// From "status codes: 800 2xx, 0 3xx, ...".
fn answered(output: &str) -> Option<usize> {
    let line = output.lines().find_map(|line| line.strip_prefix("status codes: "))?;
    line.split_once(" 2xx")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_prints_is_understood() {
        let output =
            "requests: 8 total, 8 started, 8 done, 7 succeeded, 1 failed, 0 errored, 0 timeout\nstatus codes: 7 2xx, 0 3xx, 0 4xx, 1 5xx\n";
        assert_eq!(answered(output), Some(7));
        assert_eq!(answered("unable to connect"), None);
    }
}
