//! `outrigger check-inject`: whether and why workloads would be injected, from the manifests of a cluster.

mod report;
mod target;
mod webhook;

use std::process::ExitCode;

use anyhow::{Result, bail};
use outrigger_injector::manifest::{Workload, kind};
use outrigger_injector::{Context, Decision, Namespace, decide_selected};
use serde_json::Value;

use self::report::{Checked, Row};
use self::target::{Labels, Target};
use self::webhook::{Configuration, Verdict};
use super::input::{self, Input, Namespaces, Object};
use super::output;
use crate::stdio;

/// Arguments of `outrigger check-inject`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Workload to look at; without it all of the input
    #[arg(value_name = "[TYPE/]NAME[.NAMESPACE]")]
    target: Option<Target>,
    #[command(flatten)]
    input: Input,
    /// Look only at workloads whose pods have these labels: k=v, k!=v, k, !k
    #[arg(short = 'l', long = "selector", value_name = "k=v,...")]
    labels: Option<Labels>,
    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

const EXAMPLES: &str = "\
No cluster is asked: what is looked at are manifests. They need the workloads, their Namespaces (a namespace without one counts as \
having no labels), and the MutatingWebhookConfigurations, of which those count whose webhooks' names end in istio.io, ours and Istio's \
alike. A webhook that matches is not enough: where the injector behind it would leave the pod alone (host network, annotation, ignored \
namespace), the answer says so.

Exit codes:
  0  answered
  1  a file cannot be read, nothing fits, there is no webhook, or several would inject
  2  wrong arguments

Examples:
  kubectl get mutatingwebhookconfigurations,ns,deploy -A -o yaml > cluster.yaml
  outrigger check-inject -f cluster.yaml                  all of them
  outrigger check-inject -f cluster.yaml deploy/web.shop  one
  outrigger check-inject -f cluster.yaml -l app=web -o json";

/// Checks.
///
/// # Errors
/// Input that cannot be read, or in which there is nothing to check.
pub fn run(args: &Args) -> Result<ExitCode> {
    let sources = args.input.read()?;
    let objects = input::objects(&sources)?;
    let namespaces = input::namespaces(&sources);
    let configurations = webhook::configurations(&objects)?;
    if configurations.is_empty() {
        bail!(
            "no injection webhook is in the input; add `kubectl get mutatingwebhookconfigurations,namespaces -o yaml`, or Outrigger is \
             not installed there"
        );
    }
    let mut checked = Vec::new();
    for object in &objects {
        for workload in workloads(object)? {
            checked.extend(check(args, object, workload, &namespaces, &configurations));
        }
    }
    if checked.is_empty() {
        bail!("{}", nothing_fits(args));
    }
    let text = match args.output {
        Output::Json => report::json(&checked)?,
        Output::Table => report::tables(&checked, output::paint()),
    };
    let printed = output::print(&text)?;
    let twice: Vec<&Checked> = checked.iter().filter(|checked| checked.injections() > 1).collect();
    for checked in &twice {
        stdio::warn(&format!("outrigger: {}: several webhooks will inject", checked.workload));
    }
    Ok(if twice.is_empty() { printed } else { ExitCode::FAILURE })
}

fn workloads(object: &Object) -> Result<Vec<Workload>> {
    match kind::workloads(&object.value) {
        Ok(found) => Ok(found),
        Err(missing) => bail!("{}: {}: {}", object.place, missing.object, missing.message),
    }
}

fn nothing_fits(args: &Args) -> String {
    match (&args.target, &args.labels) {
        (Some(target), _) => format!("{target}: no such workload is in the input"),
        (None, Some(_)) => "no workload in the input has pods with these labels".to_owned(),
        (None, None) => "no workload is in the input".to_owned(),
    }
}

/// All webhooks' answers about one workload; `None` if it was not asked about.
fn check(args: &Args, object: &Object, workload: Workload, namespaces: &Namespaces, configurations: &[Configuration]) -> Option<Checked> {
    let namespace = workload.namespace.clone().unwrap_or_else(|| args.input.namespace.clone());
    let pod = object.value.pointer(&workload.pod)?;
    let labels = input::strings(pod, "labels");
    let asked = args.target.as_ref().is_none_or(|target| target.fits(&workload, &namespace))
        && args.labels.as_ref().is_none_or(|wanted| wanted.fit(&labels));
    if !asked {
        return None;
    }
    let known = namespaces.get(&namespace);
    let unknown = Namespace { name: namespace.clone(), ..Namespace::default() };
    let found = known.unwrap_or(&unknown);
    let decision = own_decision(pod, found);
    let rows = configurations.iter().map(|configuration| {
        let verdict = configuration.judge(&found.labels, &labels);
        row(configuration, verdict, &decision)
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by(|a, b| a.webhook.cmp(&b.webhook));
    let mut warnings = decision.warnings.clone();
    if known.is_none() {
        warnings.push(format!("Namespace {namespace} is not in the input and counts as having no labels"));
    }
    Some(Checked { place: object.place.clone(), namespace, workload, rows, warnings })
}

/// What an injector of either make says once it is asked, with its usual settings.
fn own_decision(pod: &Value, namespace: &Namespace) -> Decision {
    decide_selected(pod, &Context { namespace: namespace.clone(), ..Context::default() })
}

fn row(configuration: &Configuration, verdict: Verdict, decision: &Decision) -> Row {
    let (injected, reason) = match verdict {
        Verdict::Matches(reason) if decision.inject => (true, reason),
        Verdict::Matches(reason) => (false, format!("{reason}, but {}", decision.reason)),
        Verdict::Passes(reason) => (false, reason),
    };
    Row { webhook: configuration.name.clone(), revision: configuration.revision.clone(), injected, reason }
}
