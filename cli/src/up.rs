//! `outrigger up`: manifests in, pods on this machine out, until Ctrl-C.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use outrigger_config::diagnostic::{Diagnostic, Severity};
use outrigger_testbed::pod::image::ImageRule;
use outrigger_testbed::run::state::{PodInfo, State};
use outrigger_testbed::run::{self, cleanup};
use outrigger_testbed::{Message, Options, Testbed};
use tokio::signal::unix::{SignalKind, signal};

use crate::stdio;
use crate::table::Table;

/// How long `up` waits before it says what is not ready; then it goes on waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `outrigger up`.
#[derive(clap::Args)]
pub struct Args {
    /// Manifests: a folder, a file or a pattern; repeatable
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Name of the run, to tell several apart [default: the first free one of default, default-2, ...]
    #[arg(long, value_parser = run::parse_name)]
    name: Option<String>,
    /// What to run in place of an image; repeatable. Without a rule the container's own command, else a stand-in
    #[arg(long = "image", value_name = "NAME=COMMAND")]
    images: Vec<ImageRule>,
    /// Keep the logs when the run has ended
    #[arg(long)]
    keep: bool,
}

/// Runs until a signal, then removes everything.
///
/// # Errors
/// Those of [`Testbed::start`], and standard output that takes no more.
pub fn run(args: Args) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "`up` makes network namespaces and redirects traffic, which only root may: try sudo");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(up(args))
}

async fn up(args: Args) -> Result<()> {
    let began = Instant::now();
    for crashed in cleanup::remove_crashed() {
        stdio::print_line(&format!("removed what the crashed run {crashed:?} had left behind"))?;
    }
    let mut options = Options::new(args.files)?;
    (options.name, options.images, options.keep) = (args.name, args.images, args.keep);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut testbed = Testbed::start(options).await?;
    let printer = tokio::spawn(print_messages(testbed.messages().context("messages are taken once")?));
    let shown = tokio::select! {
        shown = show(&testbed, began) => shown,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    let folder = testbed.folder().to_owned();
    testbed.shutdown().await?;
    printer.abort();
    shown?;
    match args.keep {
        true => stdio::print_line(&format!("\nended; logs are kept in {}", folder.display())),
        false => stdio::print_line("\nended; everything is removed"),
    }
}

/// Goes on for as long as the run does.
async fn show(testbed: &Testbed, began: Instant) -> Result<()> {
    show_until_ready(testbed, began).await?;
    report_changes(testbed).await
}

async fn show_until_ready(testbed: &Testbed, began: Instant) -> Result<()> {
    let name = testbed.name();
    stdio::print_line(&format!("run {name:?}: pods live in network namespaces, state in {}", testbed.folder().display()))?;
    if testbed.pods().is_empty() {
        return stdio::print_line(
            "nothing to run yet: no Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or Pod in the manifests; waiting for changes",
        );
    }
    while let Err(reason) = testbed.wait_ready(PATIENCE).await {
        stdio::print_line(&format!("{reason:#}"))?;
        if testbed.wait_until(Duration::ZERO, |_| true).await.is_err() {
            return Ok(());
        }
    }
    let state = testbed.state();
    let ready = format!("{} pods ready in {:.1} s\n", state.pods.len(), began.elapsed().as_secs_f64());
    stdio::print(&format!("{ready}\n{}{}\n{}\n", pods_table(&state), gateways(&state), hints(&state.run, example_pod(&state))))
}

/// The pods of a run, aligned.
pub fn pods_table(state: &State) -> String {
    let mut table = Table::new(["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]);
    for pod in &state.pods {
        let containers = || pod.containers.iter().filter(|container| !container.init);
        let ready = containers().filter(|container| container.ready).count();
        let restarts: u32 = pod.containers.iter().map(|container| container.restarts).sum();
        table.row([
            pod.namespace.clone(),
            pod.name.clone(),
            format!("{ready}/{}", containers().count()),
            pod.status.clone(),
            restarts.to_string(),
            age(pod),
            pod.addresses.first().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

fn age(pod: &PodInfo) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    match now.saturating_sub(pod.created) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

fn gateways(state: &State) -> String {
    let mut text = String::new();
    for service in state.services.iter().filter(|service| service.gateway) {
        for ((_, port), address) in service.ports.iter().zip(service.addresses.iter().cycle()) {
            let name = format!("{}/{}", service.namespace, service.name);
            text.push_str(&format!("\ngateway {name}: reachable from here at {address}:{port}"));
        }
    }
    if text.is_empty() { text } else { text + "\n" }
}

/// One with an application and a proxy, if there is any.
fn example_pod(state: &State) -> &str {
    let with_both = state.pods.iter().find(|pod| pod.containers.len() > 1);
    with_both.or(state.pods.first()).map_or("POD", |pod| &pod.name)
}

/// What to try, with the run's name: without it the commands would fail as soon as another run is up.
fn hints(run: &str, pod: &str) -> String {
    format!(
        "try in another terminal:
  outrigger ps --name {run}
  outrigger exec --name {run} {pod} -- sh
  outrigger logs --name {run} {pod} -c istio-proxy    (its access log, where accessLogFile is set)
changed manifests take effect when they are saved; Ctrl-C removes everything"
    )
}

/// One line per pod whose status changes.
async fn report_changes(testbed: &Testbed) -> Result<()> {
    let mut state = testbed.watch();
    let statuses = |state: &State| -> BTreeMap<String, String> {
        let ready = |pod: &PodInfo| if pod.ready { "ready".to_owned() } else { pod.status.clone() };
        state.pods.iter().map(|pod| (format!("{}/{}", pod.namespace, pod.name), ready(pod))).collect()
    };
    let mut known = statuses(&state.borrow_and_update());
    while state.changed().await.is_ok() {
        let now = statuses(&state.borrow_and_update());
        for (pod, status) in &now {
            if known.get(pod) != Some(status) {
                stdio::print_line(&format!("{pod}: {status}"))?;
            }
        }
        for pod in known.keys().filter(|pod| !now.contains_key(*pod)) {
            stdio::print_line(&format!("{pod}: gone"))?;
        }
        known = now;
    }
    Ok(())
}

async fn print_messages(mut messages: tokio::sync::mpsc::UnboundedReceiver<Message>) {
    let colour = std::io::stderr().is_terminal();
    while let Some(message) = messages.recv().await {
        let line = match &message {
            Message::Note(note) => note.clone(),
            Message::Diagnostic(diagnostic) => coloured(diagnostic, colour),
        };
        stdio::warn(&line);
    }
}

fn coloured(diagnostic: &Diagnostic, colour: bool) -> String {
    let code = match diagnostic.severity {
        _ if !colour => return diagnostic.to_string(),
        Severity::Error => "31",
        Severity::Warning => "33",
        Severity::Info => "36",
    };
    format!("\x1b[{code}m{diagnostic}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_names_the_run_so_that_it_works_beside_others() {
        let commands = hints("default", "web-1");
        let commands: Vec<&str> = commands.lines().filter(|line| line.starts_with("  outrigger ")).collect();
        assert_eq!(commands.len(), 3);
        assert!(commands.iter().all(|command| command.contains(" --name default")), "{commands:?}");
    }
}
