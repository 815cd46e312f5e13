//! What `outrigger load` itself costs: `cargo bench -p outrigger-loadtests --bench generator`.
//!
//! One thread sends HTTP/1.1 over 64 connections to an origin in this process, closed loop, answers of 1 KiB. Its CPU time
//! per request is what counts, for the origin may share the core. Beside it, over as many connections, the least that any
//! client can do: write a request, read an answer, look at neither. The ratio of the two hardly depends on the machine,
//! and is what is asserted, generously; the figures are for reading. Last, what recording one answer takes of this: its
//! status, its pod and version, and a counted property.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use outrigger_loadtests::{Amount, Connection, Layout, Outcome, Plan, Recorder, Sample, bench::origin::Origin, run};

const CONNECTIONS: usize = 64;
const LENGTH: Duration = Duration::from_secs(3);
/// A generator that costs more than this many times the least has lost something.
const MOST: f64 = 3.0;

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` only wants to know that it runs.
    let length = if std::env::args().any(|argument| argument == "--bench") { LENGTH } else { Duration::from_millis(300) };
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let _origin = Origin::start(&[port], None)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (mut least, mut closed, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        least.push(least_cost(address, length)?);
        closed.push(cost(address, length, None)?);
        open.push(cost(address, length, Some(10_000.0))?);
    }
    let [least, closed, open] = [least, closed, open].map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs.get(costs.len() / 2).copied().unwrap_or(f64::NAN)
    });
    println!("CPU per request, median of 3 runs of {length:?}, {CONNECTIONS} connections, answers of 1 KiB:");
    println!("  write and read alone     {least:6.2} us");
    println!("  closed loop              {closed:6.2} us  {:8.0} requests/s per core  {:.2} times the least", 1e6 / closed, closed / least);
    println!("  open loop, 10,000/s      {open:6.2} us");
    println!("  of it, recording         {:6.0} ns", recording_ns(length)?);
    ensure!(closed < MOST * least, "the generator costs {:.2} times the least: expected at most {MOST}", closed / least);
    Ok(())
}

/// CPU microseconds per request of the generator.
fn cost(address: SocketAddr, length: Duration, rate: Option<f64>) -> anyhow::Result<f64> {
    let plan = Plan {
        amount: Amount::For(length),
        concurrency: CONNECTIONS,
        rate,
        warmup: Duration::from_millis(200),
        preconnect: true,
        keep_answers: false,
        ..Plan::new(format!("http://{address}/b/1024"), 0)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(plan))?;
    ensure!(report.error_count() == 0, "{:?}", report.error_examples);
    Ok(report.generator.cpu_us_per_request)
}

/// CPU nanoseconds that recording one answer takes, properties looked up by their text each time.
fn recording_ns(length: Duration) -> anyhow::Result<f64> {
    const BATCH: u64 = 10_000;
    let layout = Layout { targets: vec!["http://web/".to_owned()], properties: vec!["version".to_owned()], ..Layout::default() };
    let mut recorder = Recorder::new(Arc::new(layout));
    let (begin, before, mut order) = (Instant::now(), cpu()?, 0u64);
    while begin.elapsed() < length {
        for _ in 0..BATCH {
            let sent_ns = order * 5_000;
            let done_ns = sent_ns + 200_000 + order.wrapping_mul(0x9e37_79b9) % 1_000_000;
            let who = recorder.who(b"web-7d4b9c-x2x4z", b"v1");
            let keys = [recorder.key(0, if order % 3 == 0 { b"v2" } else { b"v1" })];
            let outcome = Outcome::Status(200);
            let (bytes_in, bytes_out, connection) = (1024, 100, Connection::Reused);
            recorder.record(&Sample {
                order,
                target: 0,
                intended_ns: sent_ns,
                able_ns: sent_ns,
                sent_ns,
                done_ns,
                outcome,
                who,
                keys: &keys,
                bytes_in,
                bytes_out,
                connection,
            });
            order += 1;
        }
    }
    Ok((cpu()? - before).as_secs_f64() * 1e9 / order as f64)
}

/// The same without a look at what is read, all connections in turn.
fn least_cost(address: SocketAddr, length: Duration) -> anyhow::Result<f64> {
    let mut connections = (0..CONNECTIONS).map(|_| TcpStream::connect(address)).collect::<std::io::Result<Vec<_>>>()?;
    let request = format!("GET /b/1024 HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut buffer = [0; 16 * 1024];
    let mut answers = 0;
    let (begin, before) = (Instant::now(), cpu()?);
    while begin.elapsed() < length {
        for connection in &mut connections {
            connection.write_all(request.as_bytes())?;
        }
        for connection in &mut connections {
            ensure!(connection.read(&mut buffer)? > 1024, "an answer in pieces");
            answers += 1;
        }
    }
    Ok((cpu()? - before).as_secs_f64() * 1e6 / f64::from(answers))
}

fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros(usage.user_time()).context("user time")? + micros(usage.system_time()).context("system time")?))
}
