//! The `istio_*` families, summed over workers and written as text (sidecar contract 7.1).
//!
//! Runs on the control thread. Workers are asked for handles a page at a time; the cells behind them are read without
//! any lock.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::cells::HistogramTotal;
use super::encode::{Exposition, Kind};
use super::labels::Labels;
use super::scope::{HttpCells, Outcome, TcpCells};
use super::worker::WorkerCells;

/// Handles copied per lock of a worker; a few microseconds.
const PAGE: usize = 128;

/// Series of all workers, by label text.
#[derive(Debug, Default)]
pub(super) struct IstioTotals {
    http: BTreeMap<String, HttpTotal>,
    tcp: BTreeMap<String, TcpTotal>,
}

#[derive(Debug, Default)]
struct HttpTotal {
    requests: u64,
    duration: HistogramTotal,
    request_bytes: HistogramTotal,
    response_bytes: HistogramTotal,
}

#[derive(Debug, Default)]
struct TcpTotal {
    opened: u64,
    closed: u64,
    sent: u64,
    received: u64,
}

impl IstioTotals {
    /// Adds everything a worker has counted.
    pub fn add(&mut self, worker: &WorkerCells) {
        let mut from = 0;
        loop {
            let page = worker.lock().page(from, PAGE);
            if page.is_empty() {
                return;
            }
            from += page.len();
            for scope in page {
                scope.http.iter().for_each(|(outcome, cells)| self.add_http(&scope.labels, outcome, cells));
                scope.tcp.iter().for_each(|(outcome, cells)| self.add_tcp(&scope.labels, outcome, cells));
            }
        }
    }

    fn add_http(&mut self, labels: &Arc<Labels>, outcome: &Outcome, cells: &HttpCells) {
        let total = self.http.entry(http_labels(labels, outcome)).or_default();
        total.requests += cells.requests.get();
        cells.duration.add_to(&mut total.duration);
        cells.request_bytes.add_to(&mut total.request_bytes);
        cells.response_bytes.add_to(&mut total.response_bytes);
    }

    fn add_tcp(&mut self, labels: &Arc<Labels>, outcome: &Outcome, cells: &TcpCells) {
        let total = self.tcp.entry(format!("{},response_flags=\"{}\",{}", labels.head, outcome.flags, labels.tail)).or_default();
        total.opened += cells.opened.get();
        total.closed += cells.closed.get();
        total.sent += cells.sent.get();
        total.received += cells.received.get();
    }

    /// Writes all families that have series.
    pub fn write(&self, out: &mut Exposition) {
        if !self.http.is_empty() {
            self.write_http(out);
        }
        if !self.tcp.is_empty() {
            self.write_tcp(out);
        }
    }

    fn write_http(&self, out: &mut Exposition) {
        out.family("istio_requests_total", Kind::Counter, "Requests finished.");
        for (labels, total) in &self.http {
            out.sample("istio_requests_total", labels, total.requests);
        }
        let mut histogram = |name: &str, help: &str, select: fn(&HttpTotal) -> &HistogramTotal| {
            out.family(name, Kind::Histogram, help);
            self.http.iter().for_each(|(labels, total)| out.histogram(name, labels, select(total)));
        };
        let duration = "istio_request_duration_milliseconds";
        histogram(duration, "Time from the first byte received to the last byte sent.", |total| &total.duration);
        histogram("istio_request_bytes", "Bytes of requests, headers included.", |total| &total.request_bytes);
        histogram("istio_response_bytes", "Bytes of responses, headers included.", |total| &total.response_bytes);
    }

    fn write_tcp(&self, out: &mut Exposition) {
        let mut counter = |name: &str, help: &str, select: fn(&TcpTotal) -> u64| {
            out.family(name, Kind::Counter, help);
            self.tcp.iter().for_each(|(labels, total)| out.sample(name, labels, select(total)));
        };
        counter("istio_tcp_connections_opened_total", "TCP connections opened.", |total| total.opened);
        counter("istio_tcp_connections_closed_total", "TCP connections closed.", |total| total.closed);
        counter("istio_tcp_sent_bytes_total", "Bytes sent to the client.", |total| total.sent);
        counter("istio_tcp_received_bytes_total", "Bytes received from the client.", |total| total.received);
    }
}

/// Outcome labels between the two halves; a label without a value is empty, never left out.
fn http_labels(labels: &Labels, outcome: &Outcome) -> String {
    let mut text = String::with_capacity(labels.head.len() + labels.tail.len() + 96);
    let _ = write!(text, "{},response_code=\"{}\",grpc_response_status=\"", labels.head, outcome.status);
    if let Some(status) = outcome.grpc_status {
        let _ = write!(text, "{status}");
    }
    let _ = write!(text, "\",response_flags=\"{}\",{}", outcome.flags, labels.tail);
    text
}
