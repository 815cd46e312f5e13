//! From changed files to a published configuration: store, registry, compiler, run-time state.
//!
//! A mistake of ours in any of these must not take the proxy down or deafen it: [`Publisher::update`] survives a panic, keeps
//! what is in force, and tells what must be read again so that the next change is taken as any other.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use outrigger_config::compile::{Compiled, compile};
use outrigger_config::diagnostic::{self, Diagnostic, Severity};
use outrigger_config::keep::Keeper;
use outrigger_config::model::{AccessLogSettings, Node, Snapshot};
use outrigger_config::object::KeptDocuments;
use outrigger_config::parallel;
use outrigger_config::registry::Registry;
use outrigger_config::store::{FileChange, Resting, Store};
use outrigger_config::validate::references;

use super::DiscoveryStatus;
use crate::snapshot::{Config, ConfigHandle};

/// What the command line decides, whatever the objects say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Access log.
    pub access_log: Option<AccessLogSettings>,
}

type Compiler = fn(&Registry, &Node) -> Compiled;
/// Takes over changed files; `None` when what was kept of all others cannot be read.
type Taker = fn(&Resting, Vec<FileChange>) -> Option<Store>;

/// What became of an update. Whatever it is, some configuration is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force.
    Published,
    /// The files count with the next change; what they say now could not be compiled.
    NotCompiled,
    /// The files were not taken over: they must be read again.
    NotTaken,
    /// What was kept of all objects cannot be read: every file must be read again, for [`Publisher::start_anew`].
    ObjectsLost,
}

/// Keeps the objects in force and publishes what they compile to.
#[derive(Debug)]
pub struct Publisher {
    node: Node,
    pub(super) compiler: Compiler,
    pub(super) taker: Taker,
    overrides: Overrides,
    store: Resting,
    /// What the first draft was made of, until there is time to take it apart.
    first: Option<Store>,
    status: Arc<DiscoveryStatus>,
    logged: BTreeSet<String>,
}

/// A compiled configuration that is not in force yet.
#[derive(Debug)]
pub struct Draft {
    model: Snapshot,
    report: Report,
}

/// What there is to say about a draft.
#[derive(Debug)]
struct Report {
    diagnostics: Vec<Diagnostic>,
    objects: usize,
    resource_version: u64,
}

impl Draft {
    /// The diagnostics for which `--strict` refuses to start.
    pub fn blocking(&self) -> impl Iterator<Item = &Diagnostic> {
        self.report.diagnostics.iter().filter(|diagnostic| diagnostic.blocks_strict)
    }

    /// The compiled model.
    pub fn model(&self) -> &Snapshot {
        &self.model
    }
}

impl Publisher {
    /// A publisher for the proxy of `node`, without objects.
    pub fn new(node: Node, overrides: Overrides, status: Arc<DiscoveryStatus>) -> Self {
        let keeper = Keeper { namespace: node.namespace.clone(), pod: node.name.clone() };
        let store = Resting::keeping(keeper);
        Publisher { node, compiler: compile, taker: Resting::apply, overrides, store, first: None, status, logged: BTreeSet::new() }
    }

    /// Takes over all files and compiles their objects. Blocking; run it off the workers.
    pub fn compile(&mut self, files: Vec<FileChange>) -> Draft {
        let documents = KeptDocuments::new();
        let store = self.store.anew(files);
        let known = documents.positions();
        let (draft, packed) = parallel::both(|| self.compiled(&store), || store.rest());
        self.store = packed;
        self.pack_positions(&store, &documents, known);
        self.first = Some(store);
        draft
    }

    /// Frees what the first configuration was made of. A millisecond for a thousand services, which need not come before the proxy
    /// is ready.
    pub fn settle(&mut self) {
        self.first = None;
    }

    /// Compiles all objects in force, which are packed already.
    fn draft(&mut self, store: &Store, documents: &KeptDocuments) -> Draft {
        let known = documents.positions();
        let draft = self.compiled(store);
        self.pack_positions(store, documents, known);
        draft
    }

    /// Packs the objects once more if positions have been found since `known` were, for the next time.
    fn pack_positions(&mut self, store: &Store, documents: &KeptDocuments, known: usize) {
        if documents.positions() > known {
            self.store = store.rest();
        }
    }

    fn compiled(&self, store: &Store) -> Draft {
        let registry = Registry::with_domain(store.objects(), &self.node.cluster_domain);
        let Compiled { mut snapshot, diagnostics: compiled } = (self.compiler)(&registry, &self.node);
        if let Some(access_log) = &self.overrides.access_log {
            snapshot.mesh.access_log = Some(access_log.clone());
        }
        let mut diagnostics = store.diagnostics().to_vec();
        diagnostics.extend(references::check(&registry));
        diagnostics.extend(compiled);
        diagnostic::sort(&mut diagnostics);
        let versions = store.objects().filter_map(|object| object.meta.resource_version.parse().ok());
        let resource_version = versions.max().unwrap_or(0);
        let report = Report { diagnostics, objects: store.objects().len(), resource_version };
        Draft { model: snapshot, report }
    }

    /// Makes a first draft the configuration in force.
    pub fn publish_first(&mut self, draft: Draft, since: Instant) -> ConfigHandle {
        let Draft { model, report } = draft;
        let config = Config::build(model, None);
        self.report(report, &config, since);
        ConfigHandle::new(config)
    }

    /// Takes over changed files and replaces the configuration in force. By a mistake of ours that may fail.
    pub fn update(&mut self, changes: Vec<FileChange>, handle: &ConfigHandle, since: Instant) -> Outcome {
        let taker = self.taker;
        self.attempt(changes, taker, handle, since)
    }

    /// As [`Publisher::update`], from all files and nothing that was kept.
    pub fn start_anew(&mut self, files: Vec<FileChange>, handle: &ConfigHandle, since: Instant) -> Outcome {
        self.attempt(files, |store, files| Some(store.anew(files)), handle, since)
    }

    fn attempt(&mut self, changes: Vec<FileChange>, take: Taker, handle: &ConfigHandle, since: Instant) -> Outcome {
        let files: Vec<String> = changes.iter().map(|change| change.path.display().to_string()).collect();
        self.settle();
        let outcome = Cell::new(Outcome::NotTaken);
        // The store is replaced in one step, so a panic leaves it as it was before the change or as it is after it.
        let attempt = AssertUnwindSafe(|| {
            let documents = KeptDocuments::new();
            let Some(store) = take(&self.store, changes) else { return outcome.set(Outcome::ObjectsLost) };
            // Before anything is made of it: should that fail, the changes are not lost.
            self.store = store.rest();
            outcome.set(Outcome::NotCompiled);
            let draft = self.draft(&store, &documents);
            drop((store, documents));
            self.publish(draft, handle, since);
            outcome.set(Outcome::Published);
        });
        // The hook has logged the panic.
        let _ = catch_unwind(attempt);
        let outcome = outcome.get();
        if outcome != Outcome::Published {
            self.tell_failure(outcome, &files.join(", "));
        }
        outcome
    }

    fn tell_failure(&self, outcome: Outcome, files: &str) {
        self.status.update(|status| status.rejected += 1);
        let what = match outcome {
            Outcome::ObjectsLost => "lost what it knew of all objects; every file is read again",
            _ => "cannot compile what has changed",
        };
        tracing::error!(
            target: "config",
            "this version {what} (at a change of {files}): please report it with the messages above; \
             the configuration before it stays in force",
        );
    }

    /// Replaces the configuration in force; run-time state whose key stays is carried over.
    fn publish(&mut self, draft: Draft, handle: &ConfigHandle, since: Instant) {
        let Draft { model, report } = draft;
        let config = Config::build(model, Some(&handle.load()));
        self.report(report, &config, since);
        handle.publish(config);
    }

    fn report(&mut self, report: Report, config: &Config, since: Instant) {
        self.log_new(&report.diagnostics);
        if let Some(log) = config.access_log() {
            log.unknown().iter().for_each(|operator| self.log_once(Severity::Warning, &unknown_operator(operator)));
        }
        let failed = report.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let objects = report.objects;
        self.status.update(|status| {
            status.generation = config.generation;
            status.published_at = Some(Instant::now());
            status.objects = report.objects;
            status.highest_version = report.resource_version;
            status.updates += 1;
            status.rejected += u64::from(failed);
            status.last_duration = since.elapsed();
            status.diagnostics = report.diagnostics.into();
        });
        tracing::info!(target: "config", generation = config.generation, objects, took = ?since.elapsed(), "configuration published");
    }

    /// Logs what was not said before, and forgets what no longer holds so that its return is news.
    fn log_new(&mut self, diagnostics: &[Diagnostic]) {
        let texts: BTreeSet<String> = diagnostics.iter().map(ToString::to_string).collect();
        self.logged.retain(|text| texts.contains(text) || text.starts_with('%'));
        for diagnostic in diagnostics {
            self.log_once(diagnostic.severity, &diagnostic.to_string());
        }
    }

    fn log_once(&mut self, severity: Severity, text: &str) {
        if !self.logged.insert(text.to_owned()) {
            return;
        }
        match severity {
            Severity::Error => tracing::error!(target: "config", "{text}"),
            Severity::Warning => tracing::warn!(target: "config", "{text}"),
            Severity::Info => tracing::info!(target: "config", "{text}"),
        }
    }
}

fn unknown_operator(operator: &str) -> String {
    format!("{operator} in accessLogFormat (MeshConfig or --access-log-format) is not known; its value is always -")
}
