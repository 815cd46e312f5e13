//! `outrigger uninject`: takes out of manifests what `outrigger inject`, or Istio, put in.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use outrigger_injector::manifest::{Change, Refusal, Workload, transform};
use outrigger_injector::take_out;
use serde_json::Value;

use super::command::{refusal, show, warn};
use super::input::Input;
use super::output;

/// Arguments of `outrigger uninject`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// File (not format) to write the manifests to, as with istioctl; may be the one they come from
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write nothing, show what would change
    #[arg(long, conflicts_with = "output")]
    dry_run: bool,
}

const EXAMPLES: &str = "\
What was added is known from the annotation sidecar.istio.io/status; pods without it pass through as they are. Probes and scrape \
annotations say again what they said before.

Exit codes:
  0  done
  1  a file cannot be read or an injection cannot be undone; nothing is written
  2  wrong arguments

Examples:
  kubectl get deploy web -o yaml | outrigger uninject -f - | kubectl apply -f -
  outrigger uninject -f app.yaml -o app.yaml";

/// Takes the proxy out.
///
/// # Errors
/// Input that cannot be read, output that cannot be written. What cannot be undone is told and becomes exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let sources = args.input.read()?;
    let done = match output::transform_all(&sources, |source| transform(&source.text, change)) {
        Ok(done) => done,
        Err(failures) => return Ok(output::fail(&failures)),
    };
    warn(&sources, &done);
    if args.dry_run {
        return show(&sources, &done);
    }
    let texts: Vec<String> = done.into_iter().map(|transformed| transformed.text).collect();
    output::write(&texts, args.output.as_ref())
}

fn change(_: &Workload, pod: &Value) -> Result<Change, Refusal> {
    take_out(pod).map(|pod| Change { pod, ..Change::default() }).map_err(refusal)
}
