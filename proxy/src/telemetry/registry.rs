//! The telemetry of the whole process: every worker's cells, read for scrapes and the admin pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_config::model::Node;

use super::WorkerTelemetry;
use super::access_log::LogWriter;
use super::encode::{Exposition, Kind, push_label};
use super::istio_metrics::IstioTotals;
use super::worker::WorkerCells;

/// All workers' telemetry.
#[derive(Debug)]
pub struct Telemetry {
    workers: Vec<Arc<WorkerCells>>,
    /// `tag` of istio_build.
    version: String,
}

/// Requests and connections of one cluster since the process started, summed over workers. The fields are Envoy's
/// `upstream_` statistics of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterTotals {
    /// Attempts sent.
    pub rq_total: u64,
    /// Responses by class, 1xx to 5xx.
    pub rq_xx: [u64; 5],
    /// Attempts after the first.
    pub rq_retry: u64,
    /// Route timeouts.
    pub rq_timeout: u64,
    /// TCP bytes sent upstream.
    pub tx_bytes: u64,
    /// TCP bytes received from upstream.
    pub rx_bytes: u64,
}

impl Telemetry {
    /// The telemetry of a process with `workers` workers, and the part each worker owns. `version` is the Istio version
    /// to claim in istio_build.
    pub fn new(node: Arc<Node>, workers: usize, log: &LogWriter, version: Option<String>) -> (Telemetry, Vec<WorkerTelemetry>) {
        let cells: Vec<_> = (0..workers).map(|_| Arc::new(WorkerCells::new(Arc::clone(&node)))).collect();
        let parts = cells.iter().map(|cells| WorkerTelemetry::new(Arc::clone(cells), log.queue())).collect();
        (Telemetry { workers: cells, version: version.unwrap_or_else(|| "unknown".to_owned()) }, parts)
    }

    /// Writes the `istio_*` families.
    pub fn write_istio(&self, out: &mut Exposition) {
        let mut totals = IstioTotals::default();
        self.workers.iter().for_each(|worker| totals.add(worker));
        totals.write(out);
        let mut labels = String::new();
        push_label(&mut labels, "component", "proxy");
        push_label(&mut labels, "tag", &self.version);
        out.family("istio_build", Kind::Gauge, "Version of the proxy.");
        out.sample("istio_build", &labels, 1);
    }

    /// Totals of every cluster that saw traffic.
    pub fn clusters(&self) -> BTreeMap<Arc<str>, ClusterTotals> {
        let mut totals: BTreeMap<Arc<str>, ClusterTotals> = BTreeMap::new();
        for worker in &self.workers {
            let clusters = worker.lock().clusters();
            for (name, cells) in clusters {
                let total = totals.entry(name).or_default();
                total.rq_total += cells.rq_total.get();
                total.rq_xx.iter_mut().zip(&cells.rq_xx).for_each(|(sum, cell)| *sum += cell.get());
                total.rq_retry += cells.rq_retry.get();
                total.rq_timeout += cells.rq_timeout.get();
                total.tx_bytes += cells.tx_bytes.get();
                total.rx_bytes += cells.rx_bytes.get();
            }
        }
        totals
    }

    /// How often label text was computed instead of found by pointer.
    pub fn labelled(&self) -> u64 {
        self.workers.iter().map(|worker| worker.lock().labelled()).sum()
    }

    /// Entries by which series are found without computing their labels.
    #[cfg(test)]
    pub(super) fn pointers(&self) -> usize {
        self.workers.iter().map(|worker| worker.lock().pointers()).sum()
    }

    /// How often a series was refused because a worker had too many.
    pub fn overflowed(&self) -> u64 {
        self.workers.iter().map(|worker| worker.lock().overflowed()).sum()
    }
}
