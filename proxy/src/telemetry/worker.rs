//! The telemetry of one worker: the functions the request path calls.

use super::{HttpRecord, ResponseFlags, TcpRecord, UpstreamFacts};
use crate::listener::Downstream;

/// Counters, histograms and the access-log queue of one worker.
#[derive(Debug, Default)]
pub struct WorkerTelemetry {}

/// Statistics resolved once for a connection and kept in its [`Downstream`]; starts empty.
#[derive(Debug, Default)]
pub struct ConnectionScope {}

/// A TCP connection that has been counted as opened; its labels are frozen from then on (sidecar contract 7.1).
#[derive(Debug)]
pub struct TcpReport {}

impl WorkerTelemetry {
    /// Counts a finished exchange and writes its access-log line.
    pub fn http(&self, record: HttpRecord) {
        drop(record);
    }

    /// Counts a connection as opened, once its peers are known (or cannot be known).
    pub fn tcp_opened(&self, _downstream: &Downstream, _upstream: Option<&UpstreamFacts>, _flags: ResponseFlags) -> TcpReport {
        TcpReport {}
    }

    /// Reports the bytes of a living connection, to be called every 5 s. Both numbers are totals since it was opened.
    pub fn tcp_progress(&self, _report: &mut TcpReport, _bytes_received: u64, _bytes_sent: u64) {}

    /// Counts a connection as closed with its last bytes and writes its access-log line. Without a report it is counted
    /// as opened first.
    pub fn tcp_closed(&self, _report: Option<TcpReport>, record: TcpRecord) {
        drop(record);
    }
}
