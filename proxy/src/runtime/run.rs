//! Bring-up and end of the process, in order.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::{mpsc, watch};

use super::companions::Companions;
use super::lifecycle::Command;
use super::signals::Signals;
use super::termination::{Termination, Verdict};
use super::threads::{self, Acceptor, Threads, runtime};
use super::{Lifecycle, LogControl, LogLevels, Process, Worker, WorkerCount, cpu_limit, limits, panics};
use crate::bootstrap::Settings;
use crate::discovery::{DiscoveryStatus, FileSource, Overrides, Publisher, watch_files};
use crate::drain::{Drain, Phase};
use crate::identity::Identity;
use crate::listener::{Dispatcher, Incoming, Residents};
use crate::snapshot::ConfigHandle;
use crate::telemetry::Telemetry;
use crate::telemetry::access_log::LogWriter;
use crate::{admin, status, sys, upstream};

/// How often the certificate folder is compared.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether all threads live and what is no longer in use.
const TICK: Duration = Duration::from_secs(1);
/// How often a draining process counts its connections.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// So long after the start what starting left is given back: the first probes are answered, and load has hardly begun.
const STARTED: Duration = Duration::from_millis(100);
/// So long no configuration was published before what compiling left is given back.
const QUIET: Duration = Duration::from_millis(500);
/// Time for the worker threads to notice that connections are cut.
const CUT: Duration = Duration::from_secs(1);

/// Serves until a signal or an admin request ends the process. `warnings` are what [`Settings::resolve`] found odd;
/// `release_free_memory` is the allocator's, and is called once the start is over and when changes of configuration have come
/// to rest: compiling takes several times what it leaves. Nobody waits for it before the proxy is ready.
///
/// # Errors
/// A wrong log level, configuration that `--strict` refuses, a port that is taken, no thread to be had. Nothing is bound
/// before everything is parsed.
pub fn run(settings: Settings, warnings: Vec<String>, release_free_memory: fn()) -> anyhow::Result<ExitCode> {
    let levels = LogLevels::parse(&settings.log_level).map_err(anyhow::Error::msg)?;
    let logging = LogControl::install(levels, settings.log_as_json);
    panics::install_hook();
    warnings.iter().for_each(|warning| tracing::warn!(target: "main", "{warning}"));

    upstream::transparent::set_mark(settings.tproxy_mark);
    let started = Instant::now();
    let connection_limit = limits::downstream_connections(limits::raise_open_files());
    let loaded = Loaded::first(&settings)?;
    let identity = load_identity(&settings, &loaded.config);
    let (phase, drain) = Drain::channel();
    let (lifecycle, commands) = Lifecycle::new(phase);
    let (process, dispatcher, incoming) =
        assemble(Parts { settings, loaded: &loaded, identity, drain: &drain, lifecycle, logging, started, connection_limit });

    let control = runtime()?;
    let servers = control.block_on(async { bind_servers(&process) })?;
    let (generations, follow) = watch::channel(1);
    let acceptor = Acceptor { process: Arc::clone(&process), dispatcher, generations: follow, drain };
    let threads = threads::start(incoming, acceptor)?;
    process.lifecycle.workers_started(started.elapsed());
    tracing::info!(target: "main", workers = threads.workers.len(), took = ?started.elapsed(), "ready");

    let code = control.block_on(async {
        servers.into_iter().for_each(|server| drop(tokio::spawn(server.run())));
        tokio::spawn(give_back(generations.subscribe(), release_free_memory, release_code));
        follow_files(&process, loaded, generations);
        tokio::spawn(Arc::clone(&process.identity).watch(CERTIFICATE_INTERVAL));
        tokio::spawn(upstream::dns::run(process.config.clone()));
        supervise(&process, commands, &threads).await
    });
    // The workers, which share it, may go on until the process ends, so that nothing drops it.
    process.access_log.close();
    code
}

/// The first configuration and what keeps it up to date.
struct Loaded {
    source: FileSource,
    publisher: Publisher,
    status: Arc<DiscoveryStatus>,
    config: ConfigHandle,
}

impl Loaded {
    fn first(settings: &Settings) -> anyhow::Result<Loaded> {
        let since = Instant::now();
        let status = Arc::new(DiscoveryStatus::default());
        let overrides = Overrides { access_log: settings.access_log.clone() };
        let mut source = FileSource::new(settings.config.clone());
        let mut publisher = Publisher::new(settings.node.clone(), overrides, Arc::clone(&status));
        let changes = source.rescan(&Default::default());
        let problem = source.problem();
        if problem.is_none() && changes.is_empty() {
            tracing::warn!(target: "config", "{:?}: no .yaml, .yml or .json file yet; serving without objects", source.roots());
        }
        let draft = publisher.compile(changes);
        let blocking = draft.blocking().map(ToString::to_string);
        let objections: Vec<String> = problem.iter().cloned().chain(blocking).collect();
        let config = publisher.publish_first(draft, since);
        if settings.strict && !objections.is_empty() {
            bail!("--strict refuses to start:\n  {}", objections.join("\n  "));
        }
        if let Some(problem) = problem {
            tracing::warn!(target: "config", "{problem}; serving what there is, and looking out for it");
        }
        Ok(Loaded { source, publisher, status, config })
    }
}

/// Certificates are optional as long as nobody named their folder and none is in the usual place.
fn load_identity(settings: &Settings, config: &ConfigHandle) -> Arc<Identity> {
    let folder = (settings.certs_required || settings.certs.exists()).then(|| settings.certs.clone());
    let identity = Identity::new(folder, &config.load().model.mesh.trust_domains);
    let identity = if settings.certs_required { identity } else { identity.optional() };
    if let Err(error) = identity.reload() {
        tracing::error!(target: "secret", "{error}");
    }
    Arc::new(identity)
}

struct Parts<'a> {
    settings: Settings,
    loaded: &'a Loaded,
    identity: Arc<Identity>,
    drain: &'a Drain,
    lifecycle: Lifecycle,
    logging: LogControl,
    started: Instant,
    connection_limit: usize,
}

/// Builds workers and everything that is known about them. Starts no thread.
fn assemble(parts: Parts<'_>) -> (Arc<Process>, Dispatcher, Vec<Incoming>) {
    let Parts { settings, loaded, identity, drain, lifecycle, logging, started, connection_limit } = parts;
    let access_log = LogWriter::new();
    follow_access_log(&access_log, &loaded.config);
    let count = worker_count(&settings, &loaded.config);
    let node = Arc::new(settings.node.clone());
    let (telemetry, per_worker) = Telemetry::new(node, count, &access_log, settings.istio_version.clone());
    let worker = |(id, telemetry)| {
        Arc::new(Worker {
            id,
            config: loaded.config.clone(),
            routings: loaded.config.routings(),
            identity: Arc::clone(&identity),
            pool: Default::default(),
            pipes: Default::default(),
            telemetry,
            drain: drain.clone(),
            residents: Residents::new(drain, loaded.config.shut_doors()),
            connections: AtomicUsize::new(0),
            no_name: "".into(),
            handshakes: Default::default(),
        })
    };
    let workers: Vec<Arc<Worker>> = per_worker.into_iter().enumerate().map(worker).collect();
    let (dispatcher, incoming) = Dispatcher::new(&workers, connection_limit);
    let (config, discovery) = (loaded.config.clone(), Arc::clone(&loaded.status));
    let process = Process { settings, config, workers, identity, telemetry, access_log, discovery, lifecycle, logging, started };
    (Arc::new(process), dispatcher, incoming)
}

fn worker_count(settings: &Settings, config: &ConfigHandle) -> usize {
    let count = WorkerCount {
        flag: settings.concurrency,
        proxy_config: settings.proxy_config.concurrency.or(config.load().model.mesh.concurrency),
        cpu_limit: cpu_limit::of_this_process().or(settings.cpu_limit),
        cores: thread::available_parallelism().map_or(1, usize::from),
    };
    count.resolve()
}

fn bind_servers(process: &Arc<Process>) -> anyhow::Result<Vec<admin::Server>> {
    let mut servers = vec![admin::bind(process)?];
    servers.extend(status::bind(process)?);
    Ok(servers)
}

/// Keeps the configuration up to date from now on, and tells those who keep something derived from it.
fn follow_files(process: &Arc<Process>, loaded: Loaded, generations: watch::Sender<u64>) {
    let Loaded { source, publisher, status, config } = loaded;
    let process = Arc::clone(process);
    tokio::spawn(watch_files(source, publisher, config, status, move |generation| {
        follow_access_log(&process.access_log, &process.config);
        process.identity.set_trust_domains(&process.config.load().model.mesh.trust_domains);
        generations.send_replace(generation);
    }));
}

/// Gives back the memory that a start or a change has left free, once no new generation has come for a while: it is taken from
/// all threads, and the workers would fault theirs in again after each of twenty publications a second. The code goes with the
/// start's alone. What the workers run is released with the rest of it, which costs little before there is load and is paid for
/// by requests afterwards.
async fn give_back(mut generations: watch::Receiver<u64>, free_memory: impl Fn(), code: impl FnOnce()) {
    tokio::time::sleep(STARTED).await;
    free_memory();
    code();
    while generations.changed().await.is_ok() {
        while matches!(tokio::time::timeout(QUIET, generations.changed()).await, Ok(Ok(()))) {}
        free_memory();
    }
}

fn release_code() {
    if let Err(error) = sys::release_code() {
        tracing::debug!(target: "main", "code that only the start needed stays resident: {error}");
    }
}

fn follow_access_log(writer: &LogWriter, config: &ConfigHandle) {
    if let Some(log) = config.load().access_log() {
        writer.set_path(log.path());
    }
}

impl Threads {
    /// The name of a thread that has ended although nothing told it to.
    fn dead(&self) -> Option<String> {
        let all = self.workers.iter().chain(&self.acceptor);
        all.filter(|thread| thread.is_finished()).find_map(|thread| thread.thread().name().map(str::to_owned))
    }

    async fn ended(&self) {
        while !self.workers.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits for the end and carries it out.
async fn supervise(process: &Process, mut commands: mpsc::UnboundedReceiver<Command>, threads: &Threads) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install().context("cannot handle signals")?;
    let mut application = pin!(application_ended(&process.settings));
    loop {
        tokio::select! {
            () = application.as_mut() => {
                tracing::info!(target: "main", "the application's processes have ended; draining");
                return Ok(terminate(process, termination_without_application(process), &mut signals, &mut commands, threads).await);
            }
            signal = signals.next() => {
                // After POST /drain the clients have had their notice already.
                if process.lifecycle.phase() > Phase::Serving {
                    return Ok(ExitCode::SUCCESS);
                }
                tracing::info!(target: "main", signal, "draining");
                return Ok(terminate(process, termination(process), &mut signals, &mut commands, threads).await);
            }
            Some(command) = commands.recv() => match command {
                Command::Drain => process.lifecycle.advance(Phase::Draining),
                Command::Quit => return Ok(ExitCode::SUCCESS),
            },
            () = tokio::time::sleep(TICK) => {
                if let Some(name) = threads.dead() {
                    bail!("thread {name} ended unexpectedly; ending so that the container is restarted");
                }
                process.config.free_replaced();
            }
        }
    }
}

/// Waits for the end of the application, if that is to end the proxy too.
async fn application_ended(settings: &Settings) {
    match settings.exit_with_application.then(|| Companions::of_this_pod(settings.application_containers)) {
        Some(Ok(mut companions)) => return companions.ended().await,
        Some(Err(reason)) => {
            tracing::warn!(target: "main", "OUTRIGGER_EXIT_WITH_APPLICATION has no effect: {reason}");
        }
        None => {}
    }
    std::future::pending().await
}

/// Drains and ends; a second signal, or POST /quitquitquit, ends at once.
async fn terminate(
    process: &Process,
    termination: Termination,
    signals: &mut Signals,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    threads: &Threads,
) -> ExitCode {
    process.lifecycle.begin_shutdown();
    process.lifecycle.advance(Phase::Draining);
    let since = Instant::now();
    loop {
        match termination.verdict(since.elapsed(), process.connections()) {
            Verdict::Wait => {}
            Verdict::End => break,
            Verdict::Force => {
                tracing::warn!(target: "main", connections = process.connections(), "drain time is over; cutting what is left");
                break;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(DRAIN_TICK) => {}
            signal = signals.next() => return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
            Some(Command::Quit) = commands.recv() => return ExitCode::SUCCESS,
        }
    }
    process.lifecycle.advance(Phase::Forced);
    let _ = tokio::time::timeout(CUT, threads.ended()).await;
    tracing::info!(target: "main", took = ?since.elapsed(), "drained");
    ExitCode::SUCCESS
}

fn termination(process: &Process) -> Termination {
    let settings = &process.settings;
    let config = process.config.load();
    let mesh = &config.model.mesh;
    let shortest = settings.proxy_config.termination_drain_duration.unwrap_or(mesh.termination_drain_duration);
    let minimum = match settings.drain.exit_on_zero_connections {
        true => settings.drain.minimum.unwrap_or(shortest),
        false => shortest,
    };
    Termination {
        minimum,
        maximum: settings.proxy_config.drain_duration.unwrap_or(mesh.drain_duration),
        exit_on_zero_connections: settings.drain.exit_on_zero_connections,
    }
}

/// Nobody is left to serve: the end comes with the last connection, at the latest when an ordinary drain would be over.
fn termination_without_application(process: &Process) -> Termination {
    let ordinary = termination(process);
    Termination { minimum: Duration::ZERO, maximum: ordinary.minimum, exit_on_zero_connections: true }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_after_the_start_and_after_changes_and_not_between_them_and_code_after_the_start_alone() {
        let (generations, follow) = watch::channel(1);
        let (released, code) = (Cell::new(0), Cell::new(0));
        let changes = async {
            tokio::time::sleep(STARTED / 2).await;
            assert_eq!((released.get(), code.get()), (0, 0), "the start comes first");
            tokio::time::sleep(STARTED).await;
            assert_eq!((released.get(), code.get()), (1, 1));
            for generation in 2..22 {
                generations.send_replace(generation);
                tokio::time::sleep(QUIET / 10).await;
                assert_eq!(released.get(), 1, "at generation {generation}");
            }
            tokio::time::sleep(QUIET * 3).await;
            assert_eq!(released.get(), 2);
            generations.send_replace(22);
            tokio::time::sleep(QUIET * 3).await;
            assert_eq!((released.get(), code.get()), (3, 1));
        };
        tokio::select! {
            () = changes => {}
            () = give_back(follow, || released.set(released.get() + 1), || code.set(code.get() + 1)) => panic!("ended before the process"),
        }
    }
}
