//! The telemetry of one worker: the functions the request path calls.
//!
//! One uncontended lock per finished exchange guards all cells of the worker; only a scrape takes it too, for the time of
//! copying a page of handles.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use outrigger_config::model::Node;

use super::access_log::{self, LogQueue};
use super::labels::Subject;
use super::scope::{ClusterCells, Outcome, Resolved, Scopes, TcpCells};
use super::{HttpRecord, ResponseFlags, TcpRecord, UpstreamFacts};
use crate::listener::{Direction, Downstream};

/// Counters, histograms and the access-log queue of one worker.
#[derive(Debug)]
pub struct WorkerTelemetry {
    cells: Arc<WorkerCells>,
    log: LogQueue,
}

/// What a worker counts, shared with the scraper.
#[derive(Debug)]
pub(super) struct WorkerCells {
    node: Arc<Node>,
    scopes: Mutex<Scopes>,
}

impl WorkerCells {
    pub(super) fn new(node: Arc<Node>) -> Self {
        WorkerCells { node, scopes: Mutex::default() }
    }

    /// The cells. A panic elsewhere cannot leave them inconsistent, so a poisoned lock is as good as any.
    pub(super) fn lock(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Statistics resolved once for an inbound connection and kept in its [`Downstream`]; starts empty.
#[derive(Debug, Default)]
pub struct ConnectionScope {
    http: OnceLock<Resolved>,
    grpc: OnceLock<Resolved>,
}

/// A TCP connection that has been counted as opened; its labels are frozen from then on (sidecar contract 7.1).
#[derive(Debug)]
pub struct TcpReport {
    cells: Option<Arc<TcpCells>>,
    cluster: Option<Arc<ClusterCells>>,
    bytes_received: u64,
    bytes_sent: u64,
}

impl WorkerTelemetry {
    pub(super) fn new(cells: Arc<WorkerCells>, log: LogQueue) -> Self {
        WorkerTelemetry { cells, log }
    }

    /// Counts a finished exchange and writes its access-log line.
    pub fn http(&self, record: &HttpRecord) {
        self.count_http(record);
        if let Some(captured) = &record.captured {
            self.log.push(|line| access_log::render_http(line, captured, record));
        }
    }

    fn count_http(&self, record: &HttpRecord) {
        let subject = Subject {
            downstream: &record.downstream,
            upstream: record.upstream.as_ref(),
            authority: record.authority.to_str().unwrap_or_default(),
            route_name: &record.route_name,
            protocol: if record.is_grpc { "grpc" } else { "http" },
        };
        let outcome = Outcome { status: record.status, grpc_status: record.grpc_status, flags: record.flags };
        let mut scopes = self.cells.lock();
        let resolved = self.resolve_http(&mut scopes, &subject, record.is_grpc);
        if let Some(cells) = scopes.http(resolved, outcome) {
            cells.requests.add(1);
            cells.duration.observe(u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX));
            cells.request_bytes.observe((record.request_head_bytes + record.bytes_received).saturating_mul(1000));
            cells.response_bytes.observe((record.response_head_bytes + record.bytes_sent).saturating_mul(1000));
        }
        if let (Some(cluster), true) = (scopes.cluster(resolved), record.upstream.is_some()) {
            count_cluster(cluster, record);
        }
    }

    /// Inbound labels depend on the connection alone, so they are resolved with its first request that reached the
    /// application (the others do not know the cluster).
    fn resolve_http(&self, scopes: &mut Scopes, subject: &Subject<'_>, is_grpc: bool) -> Resolved {
        if subject.downstream.direction != Direction::Inbound || subject.upstream.is_none() {
            return scopes.resolve(&self.cells.node, subject);
        }
        let scope = &subject.downstream.scope;
        let kept = if is_grpc { &scope.grpc } else { &scope.http };
        *kept.get_or_init(|| scopes.resolve(&self.cells.node, subject))
    }

    /// Counts a connection as opened, once its peers are known (or cannot be known).
    pub fn tcp_opened(&self, downstream: &Downstream, upstream: Option<&UpstreamFacts>, flags: ResponseFlags) -> TcpReport {
        let subject = Subject { downstream, upstream, authority: "", route_name: "", protocol: "tcp" };
        let mut scopes = self.cells.lock();
        let resolved = scopes.resolve(&self.cells.node, &subject);
        let cells = scopes.tcp(resolved, flags);
        let cluster = scopes.cluster(resolved).cloned();
        if let Some(cells) = &cells {
            cells.opened.add(1);
        }
        TcpReport { cells, cluster, bytes_received: 0, bytes_sent: 0 }
    }

    /// Reports the bytes of a living connection, to be called every 5 s. Both numbers are totals since it was opened.
    pub fn tcp_progress(&self, report: &mut TcpReport, bytes_received: u64, bytes_sent: u64) {
        let received = bytes_received.saturating_sub(report.bytes_received);
        let sent = bytes_sent.saturating_sub(report.bytes_sent);
        report.bytes_received = bytes_received;
        report.bytes_sent = bytes_sent;
        let _one_writer = self.cells.lock();
        if let Some(cells) = &report.cells {
            cells.received.add(received);
            cells.sent.add(sent);
        }
        if let Some(cluster) = &report.cluster {
            cluster.tx_bytes.add(received);
            cluster.rx_bytes.add(sent);
        }
    }

    /// Counts a connection as closed with its last bytes and writes its access-log line. Without a report it is counted
    /// as opened first. The line is written when `log` is the access log in force.
    pub fn tcp_closed(&self, report: Option<TcpReport>, record: &TcpRecord, log: Option<&Arc<access_log::AccessLog>>) {
        let mut report = report.unwrap_or_else(|| self.tcp_opened(&record.downstream, record.upstream.as_ref(), record.flags));
        self.tcp_progress(&mut report, record.bytes_received, record.bytes_sent);
        if let Some(cells) = &report.cells {
            let _one_writer = self.cells.lock();
            cells.closed.add(1);
        }
        if let Some(log) = log {
            self.log.push(|line| access_log::render_tcp(line, log, record));
        }
    }
}

impl Default for WorkerTelemetry {
    /// Counts that nobody scrapes, for one connection served outside a process: tests and tools.
    fn default() -> Self {
        WorkerTelemetry::new(Arc::new(WorkerCells::new(Arc::new(Node::default()))), LogQueue::default())
    }
}

fn count_cluster(cluster: &ClusterCells, record: &HttpRecord) {
    cluster.rq_total.add(u64::from(record.attempts));
    cluster.rq_retry.add(u64::from(record.attempts.saturating_sub(1)));
    if record.flags.contains(ResponseFlags::UT) {
        cluster.rq_timeout.add(1);
    }
    let class = usize::from(record.status / 100).checked_sub(1).and_then(|class| cluster.rq_xx.get(class));
    if let (Some(class), true) = (class, record.attempts > 0) {
        class.add(1);
    }
}
