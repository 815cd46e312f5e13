//! A proxy process on free ports, and the smallest HTTP client that can ask it something.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Generous, for a machine that builds and tests at once; nothing here waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Ports of one proxy.
#[derive(Clone, Copy)]
pub struct Ports {
    pub admin: u16,
    pub status: u16,
    pub health: u16,
    pub prometheus: u16,
    /// For a Gateway of the test.
    pub gateway: u16,
}

impl Ports {
    /// Ports that were free a moment ago, all different.
    pub fn free() -> Ports {
        let sockets: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port = |number: usize| sockets[number].local_addr().expect("bound").port();
        Ports { admin: port(0), status: port(1), health: port(2), prometheus: port(3), gateway: port(4) }
    }
}

/// How to start a proxy.
pub struct Setup {
    pub ports: Ports,
    pub folder: tempfile::TempDir,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Setup {
    /// A router over an empty folder.
    pub fn new() -> Setup {
        let ports = Ports::free();
        let env = [
            ("POD_NAME", "gateway-1".to_owned()),
            ("POD_NAMESPACE", "shop".to_owned()),
            ("INSTANCE_IP", "127.0.0.1".to_owned()),
            ("ISTIO_METAJSON_LABELS", r#"{"istio":"ingressgateway","app":"gateway"}"#.to_owned()),
            ("PROXY_CONFIG", format!(r#"{{"proxyAdminPort":{},"statusPort":{},"concurrency":2}}"#, ports.admin, ports.status)),
            ("ENVOY_STATUS_PORT", ports.health.to_string()),
            ("ENVOY_PROMETHEUS_PORT", ports.prometheus.to_string()),
            ("MINIMUM_DRAIN_DURATION", "100ms".to_owned()),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Setup { ports, folder: tempfile::tempdir().expect("temporary folder"), args: Vec::new(), env }
    }

    pub fn arg(mut self, arg: &str) -> Setup {
        self.args.push(arg.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn file(self, name: &str, text: &str) -> Setup {
        write(&self.folder.path().join(name), text);
        self
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["proxy", "router", "--pod-info", "/nonexistent", "--proxyLogLevel", "info", "--config"]);
        command.arg(self.folder.path()).args(&self.args).env_clear().envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    }

    /// Starts the proxy and waits until it is ready.
    pub fn start(self) -> Proxy {
        let proxy = self.start_unready();
        proxy.until("ready", |proxy| proxy.try_get(proxy.ports.health, "/healthz/ready").is_some_and(|answer| answer.status == 200));
        proxy
    }

    /// Starts the proxy and waits for its admin port only.
    pub fn start_unready(self) -> Proxy {
        let mut child = self.spawn();
        let log = collect(child.stderr.take().expect("piped"));
        let out = collect(child.stdout.take().expect("piped"));
        let proxy = Proxy { ports: self.ports, child, log, out, folder: self.folder };
        proxy.until("admin port", |proxy| proxy.try_get(proxy.ports.admin, "/ready").is_some());
        proxy
    }

    /// Runs a proxy that is expected to refuse; returns its exit status and what it said.
    pub fn refuse(self) -> (ExitStatus, String) {
        let mut child = self.spawn();
        let log = collect(child.stderr.take().expect("piped"));
        let status = wait(&mut child);
        thread::sleep(Duration::from_millis(50));
        let text = log.lock().expect("not poisoned").clone();
        (status, text)
    }
}

/// A running proxy; killed when dropped.
pub struct Proxy {
    pub ports: Ports,
    pub folder: tempfile::TempDir,
    child: Child,
    log: Arc<Mutex<String>>,
    out: Arc<Mutex<String>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }
}

impl Proxy {
    pub fn get(&self, port: u16, path: &str) -> Answer {
        self.request("GET", port, path)
    }

    pub fn post(&self, port: u16, path: &str) -> Answer {
        self.request("POST", port, path)
    }

    fn request(&self, method: &str, port: u16, path: &str) -> Answer {
        request(method, port, path).unwrap_or_else(|| panic!("no answer to {method} {port}{path}; log:\n{}", self.log()))
    }

    pub fn try_get(&self, port: u16, path: &str) -> Option<Answer> {
        request("GET", port, path)
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    pub fn stdout(&self) -> String {
        self.out.lock().expect("not poisoned").clone()
    }

    /// Writes a manifest as most tools do: beside, then renamed.
    pub fn write(&self, name: &str, text: &str) {
        write(&self.folder.path().join(name), text);
    }

    pub fn until(&self, what: &str, condition: impl Fn(&Proxy) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: never happened; log:\n{}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("signalled");
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("waited") {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "the process never ended");
        thread::sleep(Duration::from_millis(2));
    }
}

fn write(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, path).expect("renamed");
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().expect("not poisoned").push_str(&format!("{line}\n"));
        }
    });
    text
}

/// One HTTP/1.1 request on a connection of its own.
pub fn request(method: &str, port: u16, path: &str) -> Option<Answer> {
    request_to(([127, 0, 0, 1], port).into(), method, path)
}

/// The same to any address.
pub fn request_to(address: SocketAddr, method: &str, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    assert!(!chunked, "this client reads no chunks: {head}");
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A Gateway on a port, selecting the proxy of [`Setup`], and a VirtualService that answers on it by itself.
pub fn gateway(port: u16, answer: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: shop}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {port}, name: http, protocol: HTTP}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: answer, namespace: shop}}
spec:
  hosts: ['*']
  gateways: [gateway]
  http:
  - directResponse:
      status: {answer}
"
    )
}
