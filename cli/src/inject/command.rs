//! `outrigger inject`: manifests in, the same manifests with the proxy in their pods out.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use outrigger_injector::manifest::{Change, Refusal, Transformed, Workload, transform};
use outrigger_injector::{Cause, Cluster, Context, Decision, InjectError, KubernetesVersion, Namespace, Settings, decide_selected, inject};
use serde_json::Value;

use super::configuration::Flags;
use super::input::{self, Input, Namespaces, Source};
use super::{diff, explain, output};
use crate::stdio;

/// Arguments of `outrigger inject`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// File (not format) to write the manifests to, as with istioctl; may be the one they come from
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    configuration: Flags,
    /// Version of the oldest kubelet; from 1.29 on the proxy becomes a native sidecar
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<KubernetesVersion>,
    /// Tell for each workload whether it is injected, why, and what is added; manifests are then written only with -o
    #[arg(long)]
    explain: bool,
    /// Write nothing, show what would change
    #[arg(long, conflicts_with_all = ["output", "explain"])]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Pods, Deployments, ReplicaSets, ReplicationControllers, DaemonSets, StatefulSets, Jobs, CronJobs, DeploymentConfigs and Argo Rollouts \
are injected, also in Lists; everything else, and all comments, pass through as they are. The label or annotation \
sidecar.istio.io/inject of the pod (or its template) decides; without it the pod is injected. Labels of namespaces do not matter here. \
Injecting twice changes nothing.

No cluster is asked. Without the configuration files the defaults of this version hold; to take a cluster's:
  kubectl -n istio-system get configmap istio-sidecar-injector -o yaml > injector.yaml
  kubectl -n istio-system get configmap istio -o yaml > mesh.yaml
  outrigger inject --injectConfigFile injector.yaml --meshConfigFile mesh.yaml -f app.yaml

Exit codes:
  0  done, also if nothing was to be injected
  1  a file cannot be read or a pod is refused; nothing is written
  2  wrong arguments

Examples:
  outrigger inject -f app.yaml | kubectl apply -f -     apply with the proxy
  outrigger inject -f app/ --dry-run                    see what it would change
  outrigger inject -f app/ --explain                    see what is injected, and why
  kubectl get deploy web -o yaml | outrigger inject -f - | kubectl apply -f -";

/// Injects.
///
/// # Errors
/// Input or configuration that cannot be read, output that cannot be written. Pods that are refused are told and become exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let settings = args.configuration.settings()?;
    let cluster = Cluster { kubernetes: args.kubernetes_version, ..Cluster::default() };
    let sources = args.input.read()?;
    let namespaces = input::namespaces(&sources);
    let injector = Injector { settings, cluster, namespaces, default_namespace: &args.input.namespace };
    let done = match output::transform_all(&sources, |source| transform(&source.text, |workload, pod| injector.change(workload, pod))) {
        Ok(done) => done,
        Err(failures) => return Ok(output::fail(&failures)),
    };
    if args.dry_run {
        warn(&sources, &done);
        return show(&sources, &done);
    }
    let texts: Vec<String> = done.iter().map(|transformed| transformed.text.clone()).collect();
    if args.explain {
        if args.output.is_some() {
            output::write(&texts, args.output.as_ref())?;
        }
        return output::print(&explain::explain(&sources, &done, output::paint()));
    }
    warn(&sources, &done);
    output::write(&texts, args.output.as_ref())
}

/// The diff of all sources.
pub fn show(sources: &[Source], done: &[Transformed]) -> Result<ExitCode> {
    let paint = output::paint();
    let diffs = sources.iter().zip(done).map(|(source, done)| diff::unified(&source.name, &source.text, &done.text, paint));
    output::print(&diffs.collect::<String>())
}

/// Tells on standard error who is not injected and what else is worth knowing. Standard output carries manifests.
pub fn warn(sources: &[Source], done: &[Transformed]) {
    for (source, transformed) in sources.iter().zip(done) {
        for report in &transformed.reports {
            let place = format!("{}:{}: {}", source.name, report.line, report.workload);
            if report.change.pod.is_none() && !report.change.reason.is_empty() {
                stdio::warn(&format!("{place}: not injected: {}", report.change.reason));
            }
            report.change.warnings.iter().for_each(|warning| stdio::warn(&format!("{place}: warning: {warning}")));
        }
        for warning in &transformed.warnings {
            stdio::warn(&format!("{}:{}: warning: {}", source.name, warning.line, warning.message));
        }
    }
}

/// What decides, and does.
struct Injector<'a> {
    settings: Settings,
    cluster: Cluster,
    namespaces: Namespaces,
    default_namespace: &'a str,
}

impl Injector<'_> {
    fn change(&self, workload: &Workload, pod: &Value) -> Result<Change, Refusal> {
        let context = self.context(workload);
        let decision = decide_selected(pod, &context);
        let mut warnings = decision.warnings.clone();
        if !decision.inject {
            return Ok(Change { pod: None, reason: decision.reason, warnings });
        }
        let injected = inject(pod, &context).map_err(refusal)?;
        warnings.extend(injected.warnings);
        Ok(Change { pod: Some(injected.pod), reason: because(decision), warnings })
    }

    fn context(&self, workload: &Workload) -> Context {
        let name = workload.namespace.as_deref().unwrap_or(self.default_namespace);
        let unknown = || Namespace { name: name.to_owned(), ..Namespace::default() };
        Context {
            namespace: self.namespaces.get(name).cloned().unwrap_or_else(unknown),
            settings: self.settings.clone(),
            cluster: self.cluster.clone(),
            workload: workload.owner(),
        }
    }
}

/// Injection by hand needs no reason.
fn because(decision: Decision) -> String {
    match decision.cause {
        Cause::PolicyEnabled => "nothing speaks against it".to_owned(),
        _ => decision.reason,
    }
}

/// An error with the field of the pod it is about.
pub fn refusal(error: InjectError) -> Refusal {
    let field: Vec<String> = match &error {
        InjectError::Annotation { name, .. } => ["metadata", "annotations", name].map(str::to_owned).to_vec(),
        InjectError::Shape { field, .. } => field.split('.').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Refusal { field, message: error.to_string() }
}
