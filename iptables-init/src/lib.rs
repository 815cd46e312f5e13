//! The rules that redirect a pod's traffic into the proxy: what Istio's `istio-iptables` does.
//!
//! In reading order: [`Args`] as written, [`Settings`] as needed, [`plan()`] the ordered rules (pure), [`render`] and [`native`]
//! their text, [`explain`] their reasons; then what touches the machine: which tools there are, what stands already, applying, removing, proving.
//!
//! Assumes that it runs as root (or with `CAP_NET_ADMIN` and `CAP_NET_RAW`) and that the network namespace belongs to one pod:
//! every chain named `ISTIO_...` in it is taken to be ours, or that of an Istio this one replaces.

pub mod args;
pub mod lenient;
pub mod settings;

pub mod plan;
pub mod render;
pub mod rule;

pub mod merge;
pub mod native;

pub mod detect;
pub mod state;
pub mod tool;

pub mod apply;
pub mod cleanup;
pub mod explain;

mod address;
mod capability;
mod error;
mod features;
mod guard;
mod leftover;
mod netlink;
mod netns;
mod routing;
mod undo;
mod validate;

pub use args::Args;
pub use error::Error;
pub use plan::plan;
pub use rule::Family;
pub use settings::Settings;

use settings::{Action, Backend, Options};

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rules were written (or replaced those of another configuration).
    Applied,
    /// Exactly these rules stood already; nothing was touched.
    AlreadyInPlace,
    /// Everything of ours was removed.
    CleanedUp,
    /// Nothing was executed: `--dry-run` or `--explain`. What would have been fed to the programs, or what each rule is for.
    DryRun(String),
    /// Rules were left to somebody else (`--skip-rule-apply`), as under a CNI plugin.
    Skipped,
}

/// Does what `args` ask for, in the network namespace of the calling thread or the one `--network-namespace` names.
///
/// Only command line values count here: callers that honour environment variables apply [`Args::with_environment`] first.
/// Blocks while child processes run (at most some 30 s when another process holds the xtables lock); call it from a thread of
/// its own in async code.
///
/// # Errors
/// See [`Error`]; [`Error::exit_code`] is the exit code Istio's tool would give.
pub fn run(args: Args) -> Result<Outcome, Error> {
    let (settings, options) = settings::read(&args)?;
    if options.dry_run || options.explain.is_some() {
        return Ok(Outcome::DryRun(tell(&settings, &options)));
    }
    let work = || {
        let outcome = match options.action {
            Action::CleanUp => cleanup::clean_up(&settings, &options)?,
            Action::Skip => Outcome::Skipped,
            Action::Apply => apply::apply(&settings, &options)?,
        };
        if let Some(probe) = &options.validation {
            validate::validate(&settings, &options, probe)?;
        }
        Ok(outcome)
    };
    match &options.network_namespace {
        None => work(),
        Some(path) => netns::within(path, work)?,
    }
}

/// Both families, whatever this machine has: the text is the same everywhere. Only `--like-istio ipv6-detection` asks for a look.
fn tell(settings: &Settings, options: &Options) -> String {
    let families = if settings.like_istio.ipv6_detection { detect::families(settings, options) } else { Family::ALL.to_vec() };
    match (options.explain, options.backend) {
        (Some(format), _) => explain::explain(settings, options, &families, format),
        (None, Backend::Native) => format!("# nft -f -\n{}", native::text::replacement(&merge::merge(settings, &families))),
        (None, Backend::Iptables(_)) => render::dry_run(settings, &families),
    }
}
