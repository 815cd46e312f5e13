//! One measurement: proxies up, load through them, figures, proxies down.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::cases::{Case, Chain, Method};
use super::certificates::Certificates;
use super::http2;
use super::load::{self, Outcome, Plan};
use super::machine;
use super::origin::Origin;
use super::peers::{self, Peer, Place};
use super::process::{self, Process};
use super::{sys, wire};

/// Figures by name. Times are in the unit that the name ends with, `cpu_us` per request.
pub type Figures = BTreeMap<String, f64>;

/// Where things listen, inside the namespace of the run.
const PROXY: u16 = 7100;
const ORIGINS: [u16; 4] = [7200, 7201, 7202, 7203];
const DIRECT: u16 = 7300;
const HTTP2_ORIGIN: u16 = 7400;
/// How long a proxy may take to its first answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between looks whether a proxy answers: a start is never timed finer than that.
const GLANCES: Duration = Duration::from_micros(50);
/// What bulk tests transfer at a time.
const BULK: &str = "/b/67108864";

/// What all measurements of a run share.
pub struct Bench {
    /// `loadtests/peers`.
    pub peers: PathBuf,
    /// Scratch.
    pub work: tempfile::TempDir,
    /// For TLS.
    pub certificates: Certificates,
    /// The CPU of the proxy.
    pub proxy_cpu: usize,
    /// The CPU of generator and origin.
    pub load_cpu: usize,
    /// Load before each window.
    pub warm_up: Duration,
    /// Each window.
    pub window: Duration,
    /// Origins; HTTP/1.1 ones run as threads, the HTTP/2 one is `nghttpd`.
    pub origin: Origin,
    /// The origin of the rows without proxy, on the proxy's CPU.
    pub direct: Origin,
    /// Started when first needed.
    pub http2_origin: Option<Process>,
}

impl Bench {
    /// Origins and certificates; call it inside the namespace of the run, on the thread that will send.
    ///
    /// # Errors
    /// A port that is taken, no scratch folder.
    pub fn new(peers: PathBuf, proxy_cpu: usize, load_cpu: usize, warm_up: Duration, window: Duration) -> Result<Bench> {
        let work = tempfile::Builder::new().prefix("outrigger-bench-").tempdir()?;
        let certificates = super::certificates::write(work.path())?;
        let origin = Origin::start(&ORIGINS, Some(load_cpu))?;
        let direct = Origin::start(&[DIRECT], Some(proxy_cpu))?;
        Ok(Bench { peers, work, certificates, proxy_cpu, load_cpu, warm_up, window, origin, direct, http2_origin: None })
    }

    /// Measures once; `None` is the row without proxy.
    ///
    /// # Errors
    /// A proxy that does not start or ends early, a tool that fails. The figures then say nothing.
    pub fn once(&mut self, case: &Case, peer: Option<&Peer>) -> Result<Figures> {
        let Some(peer) = peer else { return self.without_proxy(case) };
        // Sockets take what is in force when they are made or accepted, so this reaches the origin as well.
        let _paced_again = matches!(case.method, Method::Bulk { reno: true }).then(|| machine::Congestion::change("reno")).transpose()?;
        let mut running = self.start(case, peer)?;
        let figures = self.figures(case, &running)?;
        for process in &mut running.processes {
            process.check().with_context(|| format!("{} did not survive the test", peer.kind.name()))?;
        }
        Ok(figures)
    }

    fn without_proxy(&self, case: &Case) -> Result<Figures> {
        match case.method {
            Method::Load { connections, rate, .. } => {
                let outcome = load::run(&self.plan(case, DIRECT, connections, rate, false), Default::default)?;
                Ok(of_load(&outcome, false))
            }
            Method::Start => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("pass").arg(PROXY.to_string()).arg(ORIGINS[0].to_string());
                let mut floor = [Process::start(&mut command, Some(self.proxy_cpu), &self.work.path().join("floor.log"))?];
                let ready = wait(&mut floor, PROXY, false).context("the program that only passes on")?;
                Ok(of_start(&floor[0].pids(), ready))
            }
            _ => bail!("{} has no row without proxy", case.name),
        }
    }

    fn figures(&self, case: &Case, running: &Running) -> Result<Figures> {
        let pids = running.pids();
        match case.method {
            Method::Load { connections, rate, close } => {
                let outcome = load::run(&self.plan(case, PROXY, connections, rate, close), || process::cpu(&pids))?;
                Ok(of_load(&outcome, true))
            }
            Method::Bulk { .. } => {
                let plan = Plan { path: BULK.to_owned(), ..self.plan(case, PROXY, 2, 0.0, false) };
                Ok(of_bulk(&load::run(&plan, || process::cpu(&pids))?))
            }
            Method::Http2 { connections } => http2::measure(PROXY, connections, self.window, self.load_cpu, &pids),
            Method::Memory { idle } => memory(idle, &pids),
            Method::Start => Ok(of_start(&pids, running.ready)),
            Method::SystemCalls { rate } => {
                let plan = Plan { warm_up: Duration::ZERO, ..self.plan(case, PROXY, 64, rate, false) };
                system_calls(&plan, &pids, &self.work.path().join("perf"), self.load_cpu)
            }
        }
    }

    fn plan(&self, case: &Case, port: u16, connections: usize, rate: f64, close: bool) -> Plan {
        let big = case.chain == Chain::One("http_big");
        Plan {
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            path: "/b/1024".to_owned(),
            host: if big { "svc-777.ns.svc.cluster.local" } else { "svc.test" }.to_owned(),
            connections,
            rate: (rate > 0.0).then_some(rate),
            close,
            warm_up: self.warm_up,
            window: self.window,
        }
    }

    fn start(&mut self, case: &Case, peer: &Peer) -> Result<Running> {
        let mut processes = Vec::new();
        if matches!(case.method, Method::Memory { .. }) {
            // It maps OpenSSL, as HAProxy and nginx do, whose PSS would be a megabyte less for it, in some selections of tests only.
            self.http2_origin = None;
        }
        let entry = match case.chain {
            Chain::One("h2h2") => {
                if self.http2_origin.is_none() {
                    self.http2_origin = Some(http2::origin(HTTP2_ORIGIN, self.work.path(), self.load_cpu)?);
                }
                self.proxy(peer, "h2h2", PROXY, &[HTTP2_ORIGIN])?
            }
            Chain::One(mode) => self.proxy(peer, mode, PROXY, &ORIGINS)?,
            Chain::Two(client, server) => {
                let far = self.proxy(peer, server, PROXY + 1, &ORIGINS)?;
                processes.push(far);
                self.proxy(peer, client, PROXY, &[PROXY + 1])?
            }
        };
        processes.push(entry);
        let http2 = matches!(case.method, Method::Http2 { .. });
        let ready = wait(&mut processes, PROXY, http2).with_context(|| format!("{} in {}", peer.kind.name(), case.name))?;
        Ok(Running { processes, ready })
    }

    fn proxy(&self, peer: &Peer, mode: &str, port: u16, origins: &[u16]) -> Result<Process> {
        let mode = peers::mode(mode).with_context(|| format!("no mode {mode}"))?;
        let wanted = match mode.flags {
            flags if flags.contains(&"weighted") => 4,
            flags if flags.contains(&"big") => 2,
            _ => 1,
        };
        let origins = &origins[..wanted.min(origins.len())];
        let work = self.work.path().join(format!("{}-{port}", peer.kind.name()));
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir(&work)?;
        let place = Place { port, origins, work: &work, certificates: &self.certificates, threads: 1 };
        peers::start(peer, mode, &place, &self.peers, Some(self.proxy_cpu))
    }
}

/// Proxies that have answered once.
struct Running {
    processes: Vec<Process>,
    ready: Duration,
}

impl Running {
    fn pids(&self) -> Vec<i32> {
        self.processes.iter().flat_map(Process::pids).collect()
    }
}

fn figures<const N: usize>(pairs: [(&str, f64); N]) -> Figures {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn of_load(outcome: &Outcome, proxied: bool) -> Figures {
    let answered = (outcome.requests + outcome.bad_status).max(1) as f64;
    let microseconds = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1e3;
    let mut all = figures([
        ("requests", outcome.requests as f64),
        ("errors", (outcome.failed + outcome.bad_status + outcome.unanswered) as f64),
        ("rps", answered / outcome.elapsed.as_secs_f64()),
        ("p50_us", microseconds(0.5)),
        ("p99_us", microseconds(0.99)),
        ("p999_us", microseconds(0.999)),
    ]);
    if proxied {
        all.insert("cpu_us".to_owned(), outcome.cpu.run as f64 / 1e3 / answered);
        all.insert("busy".to_owned(), outcome.cpu.run as f64 / outcome.elapsed.as_nanos() as f64);
        all.extend(outcome.cpu.system_share().map(|share| ("kernel".to_owned(), share)));
    }
    all
}

fn of_bulk(outcome: &Outcome) -> Figures {
    let gigabytes = outcome.bytes as f64 / 1e9;
    let mut all = of_load(outcome, true);
    all.insert("gbit_s".to_owned(), gigabytes * 8.0 / outcome.elapsed.as_secs_f64());
    all.insert("cpu_s_per_gb".to_owned(), outcome.cpu.run as f64 / 1e9 / gigabytes.max(1e-9));
    all
}

fn of_start(pids: &[i32], ready: Duration) -> Figures {
    let cpu = process::cpu(pids).run as f64 / 1e6;
    figures([("start_ms", ready.as_secs_f64() * 1e3), ("start_cpu_ms", cpu)])
}

fn memory(idle: usize, pids: &[i32]) -> Result<Figures> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PROXY));
    drop(get(address)?);
    // What a proxy gives back after its start is gone by then, and what the connections need comes after that, as in service.
    thread::sleep(Duration::from_millis(500));
    let connections = (0..idle).map(|_| get(address)).collect::<io::Result<Vec<_>>>()?;
    if idle > 0 {
        thread::sleep(Duration::from_millis(500));
    }
    let now = process::memory(pids);
    drop(connections);
    Ok(figures([("pss_mib", now.pss as f64 / 1024.0), ("rss_mib", now.rss as f64 / 1024.0)]))
}

/// Counts every system call of the processes while the plan runs.
fn system_calls(plan: &Plan, pids: &[i32], output: &Path, cpu: usize) -> Result<Figures> {
    let list = pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let mut command = Command::new("perf");
    command.args(["stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-p", &list, "-o"]).arg(output);
    let mut perf = Process::start(&mut command, Some(cpu), &output.with_extension("log"))?;
    // perf says nothing when it has attached; what the proxy does before the load is not worth counting anyway.
    if perf.ended_within(Duration::from_millis(300)) {
        bail!("perf: {}", perf.tail());
    }
    let outcome = load::run(plan, Default::default)?;
    perf.signal(Signal::SIGINT);
    if !perf.ended_within(PATIENCE) {
        bail!("perf does not end");
    }
    let text = fs::read_to_string(output).unwrap_or_default();
    let calls = text.lines().find(|line| line.contains("raw_syscalls")).and_then(|line| line.split(';').next()?.parse::<f64>().ok());
    let Some(calls) = calls else { bail!("perf counted nothing: {} {}", text.trim(), perf.tail()) };
    Ok(figures([("calls", calls / outcome.answered_in_all.max(1) as f64), ("requests", outcome.answered_in_all as f64)]))
}

/// Waits for the first complete answer and returns how long that took since the last of `processes` was started.
fn wait(processes: &mut [Process], port: u16, http2: bool) -> Result<Duration> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let started = processes.last().map_or_else(Instant::now, |process| process.started);
    loop {
        let answered = if http2 { http2::greet(address) } else { get(address).map(drop) };
        let elapsed = started.elapsed();
        let Err(error) = answered else { return Ok(elapsed) };
        for process in &mut *processes {
            process.check()?;
        }
        sys::check_interrupt()?;
        if elapsed > PATIENCE {
            let said = processes.last().map(Process::tail).unwrap_or_default();
            bail!("no answer within {} s: {error}; {said}", PATIENCE.as_secs());
        }
        thread::sleep(GLANCES);
    }
}

/// One request on a new connection, which is returned.
///
/// # Errors
/// Anything but a complete answer with status 200.
pub fn get(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /b/1024 HTTP/1.1\r\nhost: svc.test\r\nuser-agent: outrigger-bench\r\n\r\n")?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..length]);
        match wire::head(&bytes) {
            Ok(Some(head)) if head.status != 200 => return Err(io::Error::other(format!("status {}", head.status))),
            Ok(Some(head)) if (bytes.len() - head.length) as u64 >= head.body => return Ok(stream),
            Ok(_) => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
