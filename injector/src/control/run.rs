//! Starting and ending the injector, readable from top to bottom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::args::Args;
use super::certificates::{Certificates, Names};
use super::configuration::{self, Source};
use super::{authority, certificate_files, lease, nodes};
use crate::webhook::server::{Limits, Server};
use crate::webhook::{State, routes};

/// Threads that answer reviews: one manages a thousand a second.
const MOST_THREADS: usize = 4;
/// Longer than the API server's 60 s between two signs of life on a watch.
const READ: Duration = Duration::from_secs(90);

/// What tests change.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Of the injector's own authority.
    pub authority: authority::Times,
    /// Of the Lease.
    pub lease: lease::Times,
    /// From being told to end until no connection is accepted any more: so long a Service may go on sending reviews here. Default 5 s.
    pub leave: Duration,
    /// For how long readiness waits for the cluster's version; without it no proxy becomes a native sidecar by itself. Default 5 s.
    pub cluster: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            authority: authority::Times::default(),
            lease: lease::Times::default(),
            leave: Duration::from_secs(5),
            cluster: Duration::from_secs(5),
        }
    }
}

/// A started injector.
pub struct Injector {
    /// Where the webhook listens.
    pub address: SocketAddr,
    /// Where metrics and probes are.
    pub metrics_address: SocketAddr,
    /// What it serves with.
    pub state: Arc<State>,
    end: watch::Sender<bool>,
    servers: JoinSet<()>,
    elector: JoinSet<()>,
    keepers: JoinSet<()>,
    times: Times,
}

/// Runs the injector until SIGTERM or SIGINT.
///
/// # Errors
/// A port that is taken, or no cluster where one is needed; the message says which and what to do. A part of the injector that ended.
pub fn run(args: Args) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("injector").enable_all().build()?;
    runtime.block_on(async {
        let client = if args.config_file.is_some() { None } else { Some(connect().await?) };
        let mut injector = Injector::start(&args, client, Times::default()).await?;
        let outcome = tokio::select! {
            told = told_to_end() => told,
            failure = injector.failure() => Err(failure),
        };
        tracing::info!(target: "injector", "ending");
        injector.end().await;
        outcome
    })
}

/// The cluster of the service account, or of the kubeconfig.
async fn connect() -> anyhow::Result<Client> {
    let config = kube::Config::infer().await.context(
        "no cluster: neither a service account nor a kubeconfig was found; without a cluster use --config-file, --tls-cert and --tls-key",
    )?;
    client(config)
}

/// A client whose requests end, and whose failures are told rather than retried unseen.
///
/// # Errors
/// Certificates or addresses that cannot be used.
pub fn client(mut config: kube::Config) -> anyhow::Result<Client> {
    config.read_timeout = Some(READ);
    config.default_retry = false;
    Client::try_from(config).context("cannot make a client of the cluster's API")
}

async fn told_to_end() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

impl Injector {
    /// Binds the ports and starts everything else. Without a client nothing talks to a cluster.
    ///
    /// # Errors
    /// A port that cannot be bound; neither cluster nor files.
    pub async fn start(args: &Args, client: Option<Client>, times: Times) -> anyhow::Result<Self> {
        let state = Arc::new(State::default());
        let (end, ending) = watch::channel(false);
        let webhook = Server::https(args.address, routes::webhook(Arc::clone(&state)), Limits::default(), Arc::clone(&state)).await?;
        let metrics =
            Server::http(args.metrics_address, routes::observation(Arc::clone(&state)), Limits::default(), Arc::clone(&state)).await?;
        let (address, metrics_address) = (webhook.address()?, metrics.address()?);
        let mut injector =
            Self { address, metrics_address, state, end, servers: JoinSet::new(), elector: JoinSet::new(), keepers: JoinSet::new(), times };
        injector.servers.spawn(webhook.run(ending.clone()));
        injector.servers.spawn(metrics.run(ending.clone()));
        injector.keep_configuration(args, client.as_ref())?;
        injector.keep_certificate(args, client)?;
        tracing::info!(target: "injector", "webhook on https://{address}/inject, metrics on http://{metrics_address}/metrics");
        Ok(injector)
    }

    fn keep_configuration(&mut self, args: &Args, client: Option<&Client>) -> anyhow::Result<()> {
        let source = match (&args.config_file, client) {
            (Some(config), _) => Source::Files { config: config.clone(), values: args.values_file.clone(), mesh: args.mesh_file.clone() },
            (None, Some(client)) => Source::ConfigMaps {
                api: Box::new(Api::namespaced(client.clone(), &args.namespace)),
                config: args.config_map(),
                mesh: args.mesh_config_map(),
            },
            (None, None) => anyhow::bail!("no configuration: expected --config-file or a cluster"),
        };
        self.keepers.spawn(configuration::keep(source, args.revision.clone(), Arc::clone(&self.state)));
        if let Some(client) = client {
            self.state.await_cluster(true);
            self.keepers.spawn(nodes::keep(client.clone(), self.times.cluster, Arc::clone(&self.state)));
        }
        Ok(())
    }

    fn keep_certificate(&mut self, args: &Args, client: Option<Client>) -> anyhow::Result<()> {
        let state = Arc::clone(&self.state);
        match (&args.tls_cert, &args.tls_key, client) {
            (Some(certificate), Some(key), _) => {
                self.keepers.spawn(certificate_files::keep(certificate.clone(), key.clone(), state));
            }
            (_, _, Some(client)) => self.keep_own_certificate(args, &client),
            _ => anyhow::bail!("no certificate: expected --tls-cert and --tls-key or a cluster"),
        }
        Ok(())
    }

    fn keep_own_certificate(&mut self, args: &Args, client: &Client) {
        let (leads, leading) = watch::channel(false);
        let identity = format!("{}_{:016x}", args.pod_name.as_deref().unwrap_or("outrigger-injector"), rand::random::<u64>());
        let leases = Api::namespaced(client.clone(), &args.namespace);
        let elector = lease::Elector::new(leases, args.lease.clone(), identity, self.times.lease);
        let (state, ending) = (Arc::clone(&self.state), self.end.subscribe());
        self.elector.spawn(async move { elector.run(&state, &leads, ending).await });
        let names = Names {
            namespace: args.namespace.clone(),
            secret: args.ca_secret.clone(),
            service: args.service.clone(),
            webhooks: args.webhook_configurations(),
        };
        let certificates = Certificates::new(client, names, self.times.authority, Arc::clone(&self.state));
        self.keepers.spawn(certificates.run(leading));
    }

    /// Returns when a part that works for ever has ended all the same: a program error, after which only a new process is whole again.
    pub async fn failure(&mut self) -> anyhow::Error {
        let (part, ended) = tokio::select! {
            Some(ended) = self.keepers.join_next() => ("what keeps configuration and certificate up to date", ended),
            Some(ended) = self.elector.join_next() => ("what keeps the Lease", ended),
            Some(ended) = self.servers.join_next() => ("a server", ended),
            else => std::future::pending().await,
        };
        match ended {
            Ok(()) => anyhow::anyhow!("{part} has ended"),
            Err(error) => anyhow::anyhow!("{part} has ended: {error}"),
        }
    }

    /// Not ready at once, so that the Service sends new reviews elsewhere; then no new connections; then the rest of what is under way.
    pub async fn end(mut self) {
        self.state.end();
        tokio::time::sleep(self.times.leave).await;
        self.end.send_replace(true);
        while self.servers.join_next().await.is_some() {}
        while self.elector.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Args, Injector, Times};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test]
    async fn a_part_that_panics_is_a_failure_of_the_injector() {
        let files = ["--config-file=none", "--tls-cert=none", "--tls-key=none"];
        let ports = ["injector", "--address=127.0.0.1:0", "--metrics-address=127.0.0.1:0"];
        let args = Line::parse_from(ports.into_iter().chain(files)).args;
        let mut injector = Injector::start(&args, None, Times::default()).await.unwrap();
        let soon = std::time::Duration::from_millis(100);
        assert!(tokio::time::timeout(soon, injector.failure()).await.is_err(), "files that are missing are trouble, no failure");
        injector.keepers.spawn(async { panic!("a program error") });
        let failure = tokio::time::timeout(100 * soon, injector.failure()).await.unwrap().to_string();
        assert!(failure.contains("configuration and certificate") && failure.contains("a program error"), "{failure}");
    }
}
