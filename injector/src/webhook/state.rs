//! What all requests share: the configuration in force, the serving certificate, and what is wrong at the moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use time::OffsetDateTime;

use super::budget::Budget;
use super::certificate::Serving;
use super::metrics::Metrics;
use crate::cluster::Cluster;
use crate::settings::Settings;

/// Parts of the injector that can be in trouble while it goes on serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// ConfigMaps or files.
    Configuration,
    /// Serving certificate and authority.
    Certificate,
    /// `caBundle` of the webhook configurations.
    CaBundle,
    /// Lease among the replicas.
    Lease,
    /// Version of the cluster's nodes.
    Nodes,
}

impl Part {
    /// For metrics and the page.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Certificate => "certificate",
            Self::CaBundle => "caBundle",
            Self::Lease => "lease",
            Self::Nodes => "nodes",
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct State {
    settings: ArcSwapOption<Settings>,
    cluster: ArcSwap<Cluster>,
    awaits_cluster: AtomicBool,
    notes: Mutex<Notes>,
    ending: AtomicBool,
    /// What TLS is served with.
    pub serving: Arc<Serving>,
    /// Counters.
    pub metrics: Metrics,
    /// What reviews may take of memory and processors.
    pub budget: Budget,
}

#[derive(Debug, Default)]
struct Notes {
    problems: BTreeMap<Part, String>,
    facts: BTreeMap<Part, String>,
}

impl State {
    /// The configuration in force; none before the first good one.
    #[must_use]
    pub fn settings(&self) -> Option<Arc<Settings>> {
        self.settings.load_full()
    }

    /// Takes a configuration into force for all reviews that begin from now on.
    pub fn configure(&self, settings: Settings, origin: &str) {
        self.settings.store(Some(Arc::new(settings)));
        self.settled(Part::Configuration, origin.to_owned());
    }

    /// What is known of the cluster.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster::clone(&self.cluster.load())
    }

    /// Takes new knowledge of the cluster into force.
    pub fn know(&self, cluster: Cluster) {
        self.cluster.store(Arc::new(cluster));
        self.await_cluster(false);
    }

    /// Whether readiness waits until [`State::know`] is called. Without a cluster nobody would.
    pub fn await_cluster(&self, wait: bool) {
        self.awaits_cluster.store(wait, Ordering::Relaxed);
    }

    /// Whether the process is about to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Notes trouble: in the log when it is news, in the metric and on the page until [`State::settled`].
    pub fn trouble(&self, part: Part, problem: String) {
        let mut notes = self.notes();
        if notes.problems.get(&part) != Some(&problem) {
            tracing::error!(target: "injector", part = part.as_str(), "{problem}");
            self.metrics.trouble(part, true);
            notes.problems.insert(part, problem);
        }
    }

    /// The part is as it should be; `fact` says how, for the page.
    pub fn settled(&self, part: Part, fact: String) {
        let mut notes = self.notes();
        let had_problem = notes.problems.remove(&part).is_some();
        if had_problem || notes.facts.get(&part) != Some(&fact) {
            tracing::info!(target: "injector", part = part.as_str(), "{fact}");
        }
        self.metrics.trouble(part, false);
        notes.facts.insert(part, fact);
    }

    /// From now on the page says not ready, so that the Service sends reviews elsewhere.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether reviews can be answered, and the page that says why (not).
    #[must_use]
    pub fn readiness(&self) -> (bool, String) {
        let missing: Vec<&str> = [
            (self.settings.load().is_none(), "no configuration yet"),
            (!self.serving.is_present(), "no serving certificate yet"),
            (self.serving.not_after().is_some_and(|end| end < OffsetDateTime::now_utc()), "the serving certificate has ended"),
            (self.awaits_cluster.load(Ordering::Relaxed), "the cluster's version is not known yet"),
            (self.is_ending(), "the process is ending"),
        ]
        .into_iter()
        .filter_map(|(is_missing, what)| is_missing.then_some(what))
        .collect();
        let mut page = if missing.is_empty() { "ready\n".to_owned() } else { format!("not ready: {}\n", missing.join(", ")) };
        let notes = self.notes();
        for (part, problem) in &notes.problems {
            let _ = writeln!(page, "{}: PROBLEM: {problem}", part.as_str());
        }
        for (part, fact) in notes.facts.iter().filter(|(part, _)| !notes.problems.contains_key(part) || **part == Part::Configuration) {
            let _ = writeln!(page, "{}: {fact}", part.as_str());
        }
        (missing.is_empty(), page)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, State};
    use crate::settings::Settings;

    #[test]
    fn trouble_shows_until_settled_and_does_not_make_unready() {
        let state = State::default();
        assert!(!state.readiness().0, "nothing to serve with");
        state.configure(Settings::default(), "ConfigMap a at version 1");
        state.trouble(Part::Configuration, "ConfigMap a, key config: broken; the last good one stays".to_owned());
        let (_, page) = state.readiness();
        assert!(
            page.contains("configuration: PROBLEM: ConfigMap a, key config: broken")
                && page.contains("configuration: ConfigMap a at version 1")
        );
        assert!(state.settings().is_some());
        state.settled(Part::Configuration, "ConfigMap a at version 3".to_owned());
        assert!(!state.readiness().1.contains("PROBLEM"));
        state.end();
        assert!(state.readiness().1.starts_with("not ready"));
    }
}
