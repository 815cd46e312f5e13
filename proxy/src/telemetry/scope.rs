//! Statistics of one worker, resolved once per (cluster, service, peer) and found again by pointer.
//!
//! Two levels of lookup. The first is keyed by addresses ([`super::pointers`]); the second, taken when the first misses,
//! computes the label text and finds or makes the scope. It stops making scopes at [`MAX_SCOPES`] and counts into one whose
//! labels are unknown, so that no client can make series without end.

use std::sync::Arc;

use foldhash::HashMap;
use outrigger_config::model::Node;

use super::ResponseFlags;
use super::cells::{Counter, Histogram};
use super::labels::{self, Labels, Subject};
use super::pointers::{PointerKey, Pointers};

/// Scopes per worker. A pod that talks to a thousand workloads over two protocols needs 2000.
const MAX_SCOPES: usize = 10_000;
/// Outcomes per scope: response codes, gRPC statuses and flags that occur together.
const MAX_OUTCOMES: usize = 256;

/// How an exchange ended, as far as labels tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// HTTP status, 0 = none sent or TCP.
    pub status: u16,
    /// gRPC status.
    pub grpc_status: Option<u16>,
    /// Response flags.
    pub flags: ResponseFlags,
}

/// Cells of one (scope, outcome) for HTTP.
#[derive(Debug, Default)]
pub struct HttpCells {
    pub requests: Counter,
    pub duration: Histogram,
    pub request_bytes: Histogram,
    pub response_bytes: Histogram,
}

/// Cells of one (scope, flags) for TCP.
#[derive(Debug, Default)]
pub struct TcpCells {
    pub opened: Counter,
    pub closed: Counter,
    pub received: Counter,
    pub sent: Counter,
}

/// Requests of one cluster, by Envoy's names.
#[derive(Debug, Default)]
pub struct ClusterCells {
    pub rq_total: Counter,
    /// By class: 1xx to 5xx.
    pub rq_xx: [Counter; 5],
    pub rq_retry: Counter,
    pub rq_timeout: Counter,
    pub tx_bytes: Counter,
    pub rx_bytes: Counter,
}

/// A series group: labels, and cells per outcome.
#[derive(Debug)]
pub struct Scope {
    pub labels: Arc<Labels>,
    http: Vec<(Outcome, Arc<HttpCells>)>,
    tcp: Vec<(Outcome, Arc<TcpCells>)>,
}

/// Positions in [`Scopes`]; valid for as long as the worker lives.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    scope: usize,
    cluster: Option<usize>,
}

/// All statistics of one worker.
#[derive(Debug, Default)]
pub struct Scopes {
    by_pointer: Pointers,
    by_labels: HashMap<Arc<Labels>, usize>,
    scopes: Vec<Scope>,
    by_cluster: HashMap<Arc<str>, usize>,
    clusters: Vec<Arc<ClusterCells>>,
    overflowed: u64,
    labelled: u64,
}

impl Scopes {
    /// The scope and cluster of a subject.
    pub fn resolve(&mut self, node: &Node, subject: &Subject<'_>) -> Resolved {
        let Some(key) = PointerKey::of(subject) else { return self.resolve_by_labels(node, subject) };
        if let Some(found) = self.by_pointer.get(&key) {
            return found;
        }
        let resolved = self.resolve_by_labels(node, subject);
        if let Some(upstream) = subject.upstream {
            self.by_pointer.insert(key, upstream, resolved);
        }
        resolved
    }

    /// Takes the long way: label text, then a lookup by its content.
    fn resolve_by_labels(&mut self, node: &Node, subject: &Subject<'_>) -> Resolved {
        self.labelled += 1;
        let mut labels = labels::labels(node, subject);
        if self.scopes.len() >= MAX_SCOPES && !self.by_labels.contains_key(&labels) {
            self.overflowed += 1;
            labels = labels::anonymous_labels(node, subject);
        }
        let cluster = subject.upstream.map(|upstream| self.cluster_position(&upstream.cluster));
        Resolved { scope: self.scope_position(labels), cluster }
    }

    fn scope_position(&mut self, labels: Labels) -> usize {
        if let Some(position) = self.by_labels.get(&labels) {
            return *position;
        }
        let labels = Arc::new(labels);
        self.scopes.push(Scope { labels: Arc::clone(&labels), http: Vec::new(), tcp: Vec::new() });
        self.by_labels.insert(labels, self.scopes.len() - 1);
        self.scopes.len() - 1
    }

    fn cluster_position(&mut self, name: &Arc<str>) -> usize {
        if let Some(position) = self.by_cluster.get(name) {
            return *position;
        }
        self.clusters.push(Arc::default());
        self.by_cluster.insert(Arc::clone(name), self.clusters.len() - 1);
        self.clusters.len() - 1
    }

    /// The HTTP cells of an outcome.
    pub fn http(&mut self, resolved: Resolved, outcome: Outcome) -> Option<&HttpCells> {
        self.scopes.get_mut(resolved.scope).map(|scope| &**cells(&mut scope.http, outcome))
    }

    /// The TCP cells of a connection's flags, to be kept for its life.
    pub fn tcp(&mut self, resolved: Resolved, flags: ResponseFlags) -> Option<Arc<TcpCells>> {
        let outcome = Outcome { flags, ..Outcome::default() };
        self.scopes.get_mut(resolved.scope).map(|scope| Arc::clone(cells(&mut scope.tcp, outcome)))
    }

    /// The cluster's cells, when there is a cluster.
    pub fn cluster(&self, resolved: Resolved) -> Option<&Arc<ClusterCells>> {
        self.clusters.get(resolved.cluster?)
    }

    /// The cells of `from..from + count` scopes, for a scrape that must not hold the worker's lock for long. Empty when
    /// there are no more.
    pub fn page(&self, from: usize, count: usize) -> Vec<ScopePage> {
        self.scopes.iter().skip(from).take(count).map(ScopePage::of).collect()
    }

    /// All clusters that saw traffic.
    pub fn clusters(&self) -> Vec<(Arc<str>, Arc<ClusterCells>)> {
        let named = self.by_cluster.iter();
        named.filter_map(|(name, position)| Some((Arc::clone(name), Arc::clone(self.clusters.get(*position)?)))).collect()
    }

    /// How often label text was computed. Grows with pairs of workloads and with connections, never with requests.
    pub fn labelled(&self) -> u64 {
        self.labelled
    }

    #[cfg(test)]
    pub(super) fn pointers(&self) -> usize {
        self.by_pointer.len()
    }

    /// How often a scope was refused because there were too many.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// The cells of one scope, as handed to a scrape.
#[derive(Debug)]
pub struct ScopePage {
    pub labels: Arc<Labels>,
    pub http: Vec<(Outcome, Arc<HttpCells>)>,
    pub tcp: Vec<(Outcome, Arc<TcpCells>)>,
}

impl ScopePage {
    fn of(scope: &Scope) -> Self {
        ScopePage { labels: Arc::clone(&scope.labels), http: scope.http.clone(), tcp: scope.tcp.clone() }
    }
}

/// Finds or makes the cells of an outcome. A scope sees few outcomes, so a scan beats a hash; past the bound, everything
/// new counts as an outcome of status 0.
fn cells<T: Default>(list: &mut Vec<(Outcome, Arc<T>)>, outcome: Outcome) -> &Arc<T> {
    let full = list.len() >= MAX_OUTCOMES;
    let found = list.iter().position(|(known, _)| *known == outcome);
    let position = match found {
        Some(position) => position,
        None if full => list.iter().position(|(known, _)| *known == Outcome::default()).unwrap_or(list.len()),
        None => list.len(),
    };
    if position == list.len() {
        list.push((if full { Outcome::default() } else { outcome }, Arc::default()));
    }
    &list[position].1
}
