//! A network namespace with origins and proxies, as `outrigger-bench` sets it up.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_loadtests::bench::{
    certificates::{self, Certificates},
    machine, measure,
    peers::{self, Kind, Mode, Peer, Place},
    process::Process,
    wire,
};

pub const PROXY: u16 = 7100;
pub const FAR_PROXY: u16 = 7101;
pub const RELAY: u16 = 7102;
pub const ORIGINS: [u16; 4] = [7200, 7201, 7202, 7203];
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bed {
    work: tempfile::TempDir,
    pub certificates: Certificates,
}

impl Bed {
    /// Moves the calling test's thread, and what it starts, into a namespace of its own.
    pub fn new() -> Bed {
        machine::enter_namespace().expect("root, for a network namespace");
        let work = tempfile::tempdir().expect("a folder");
        let certificates = certificates::write(work.path()).expect("certificates");
        Bed { work, certificates }
    }

    /// Outrigger in this mode, started with the command line of the comparison.
    pub fn start(&self, mode: &str, port: u16, origins: &[u16]) -> Process {
        let work = self.folder(port);
        std::fs::create_dir(&work).expect("a folder");
        let peer = Peer { kind: Kind::Outrigger, program: env!("CARGO_BIN_EXE_outrigger").into() };
        let place = self.place(&work, port, origins);
        let mut process = peers::start(&peer, named(mode), &place, &templates(), None).expect("started");
        let answers = || TcpStream::connect(address(port)).map(drop);
        until(|| answers().map_err(|error| (error, process.check().expect("the proxy runs"))).is_ok(), mode);
        process
    }

    pub fn place<'a>(&'a self, work: &'a Path, port: u16, origins: &'a [u16]) -> Place<'a> {
        Place { port, origins, work, certificates: &self.certificates, threads: 1 }
    }

    /// The lines of the access log of the proxy at this port, once there are so many.
    pub fn log(&self, port: u16, lines: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(self.folder(port).join("access.log")).unwrap_or_default();
        until(|| read().lines().count() >= lines, "the access log");
        read().lines().map(str::to_owned).collect()
    }

    pub fn has_log(&self, port: u16) -> bool {
        self.folder(port).join("access.log").exists()
    }

    fn folder(&self, port: u16) -> PathBuf {
        self.work.path().join(port.to_string())
    }
}

/// `loadtests/peers`.
pub fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtests/peers")
}

pub fn named(mode: &str) -> Mode {
    peers::mode(mode).expect("a known mode")
}

pub fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Sends requests one after another, each on a connection of its own; all must be answered with 200.
pub fn requests(port: u16, count: usize) {
    for number in 0..count {
        measure::get(address(port)).unwrap_or_else(|error| panic!("request {number}: {error}"));
    }
}

/// What curl prints, and whether it was content.
pub fn curl(args: &[&str]) -> (bool, String) {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "5"]).args(args).output().expect("curl");
    (output.status.success(), [output.stdout, output.stderr].concat().iter().map(|byte| char::from(*byte)).collect())
}

/// Istio's request counters on the metrics page of the proxy at this port.
pub fn samples(port: u16) -> Vec<String> {
    let (_, page) = curl(&[&format!("http://127.0.0.1:{}/stats/prometheus", port + 8000)]);
    page.lines().filter(|line| line.starts_with("istio_requests_total{")).map(str::to_owned).collect()
}

/// Their sum.
pub fn counted(port: u16) -> f64 {
    samples(port).iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

pub fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Accepts on a port and calls `serve` for each connection, in a thread of its own; counts the connections.
pub fn listen(port: u16, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Arc<AtomicU64> {
    let listener = TcpListener::bind(address(port)).expect("a free port");
    let (count, serve) = (Arc::new(AtomicU64::new(0)), Arc::new(serve));
    let accepted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            accepted.fetch_add(1, Ordering::Relaxed);
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    count
}

/// Copies both ways, until one side ends.
pub fn relay(stream: TcpStream, to: u16) -> io::Result<()> {
    let far = TcpStream::connect(address(to))?;
    let (mut from_far, mut to_near) = (far.try_clone()?, stream.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_far, &mut to_near);
        to_near.shutdown(std::net::Shutdown::Both)
    });
    let (mut near, mut to_far) = (stream, far);
    let _ = io::copy(&mut near, &mut to_far);
    to_far.shutdown(std::net::Shutdown::Both)
}

/// Answers every first request of a pair with 503 and the second with 200, over all connections.
pub fn every_other(mut stream: TcpStream, number: &AtomicU64) -> io::Result<()> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..length]);
        while let Some(request) = wire::request(&bytes) {
            bytes.drain(..request.length);
            let bad = number.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let status = if bad { "503 Service Unavailable" } else { "200 OK" };
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
        }
    }
}
