//! The books of one exchange, written up when it ends, however it ends.
//!
//! A [`Stream`] is created with the request and travels from the exchange into the response body. Dropping it is the end
//! of the exchange: the record goes to telemetry. A client that goes away makes the codec drop whichever holds it at that
//! moment, so nothing is ever lost.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use tokio::time::Instant;

use crate::error::{Error, Failure, Sent};
use crate::http::grpc;
use crate::http::headers::Seen;
use crate::listener::Downstream;
use crate::runtime::{Worker, clock};
use crate::telemetry::access_log::CapturedHeaders;
use crate::telemetry::{HttpRecord, ResponseFlags, UpstreamFacts};
use crate::upstream::pool::Connection;
use crate::upstream::upload::Upload;
use crate::upstream::{ClusterState, Host, Permit, Picked};

/// One exchange in progress.
#[derive(Debug)]
pub struct Stream {
    record: HttpRecord,
    worker: Arc<Worker>,
    started: Instant,
    upload: Option<Arc<Upload>>,
    upstream: Option<Upstream>,
    ended: bool,
}

/// What an exchange holds of its upstream while the response is on its way.
#[derive(Debug)]
pub struct Upstream {
    /// Counts as an active request of the host.
    pub picked: Picked,
    /// Counts as an active request of the cluster.
    pub permit: Permit,
}

impl Stream {
    /// Opens the books when a request head is complete.
    pub fn begin(downstream: &Arc<Downstream>, worker: &Arc<Worker>, head: &Parts, seen: Seen, authority: HeaderValue) -> Box<Self> {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let record = HttpRecord {
            downstream: Arc::clone(downstream),
            start: SystemTime::UNIX_EPOCH,
            duration: std::time::Duration::ZERO,
            method: head.method.clone(),
            request_head_bytes: seen.bytes as u64 + path.as_str().len() as u64 + 16,
            path,
            version: head.version,
            authority,
            status: 0,
            grpc_status: None,
            is_grpc: seen.content_type && grpc::is_grpc(&head.headers),
            flags: ResponseFlags::NONE,
            details: Cow::Borrowed("-"),
            bytes_received: 0,
            bytes_sent: 0,
            response_head_bytes: 0,
            route_name: Arc::clone(&worker.no_name),
            decision: 0,
            upstream: None,
            attempts: 0,
            captured: None,
        };
        let worker = Arc::clone(worker);
        Box::new(Stream { record, worker, started: clock::now(), upload: None, upstream: None, ended: false })
    }

    /// Changes the record.
    pub fn note(&mut self, change: impl FnOnce(&mut HttpRecord)) {
        change(&mut self.record);
    }

    /// The request's content type is application/grpc.
    pub fn is_grpc(&self) -> bool {
        self.record.is_grpc
    }

    /// Keeps what the access log will want of the request head.
    pub fn capture(&mut self, headers: CapturedHeaders) {
        self.record.captured = Some(headers);
        self.record.start = SystemTime::now();
    }

    /// The body whose bytes count as received.
    pub fn uploads(&mut self, upload: &Arc<Upload>) {
        self.upload = Some(Arc::clone(upload));
    }

    /// The route leads to this cluster.
    pub fn heads_for(&mut self, cluster: &ClusterState) {
        let facts = UpstreamFacts::of_cluster(Arc::clone(&cluster.name), cluster.service.clone());
        self.note(|record| record.upstream = Some(facts));
    }

    /// An attempt goes to this host.
    pub fn tries(&mut self, host: &Host, attempt: u32) {
        self.note(|record| {
            record.attempts = attempt;
            if let Some(upstream) = &mut record.upstream {
                upstream.address = Some(host.address());
                upstream.local = None;
                upstream.workload = host.endpoint.workload.clone();
                (upstream.peer_identity, upstream.local_identity) = (None, None);
                (upstream.transport_failure, upstream.service_time) = (None, None);
            }
        });
    }

    /// An attempt has a connection.
    pub fn travels_over(&mut self, connection: &Connection) {
        self.note(|record| {
            if let Some(upstream) = &mut record.upstream {
                upstream.local = connection.facts.local;
                upstream.peer_identity = connection.facts.peer_identity().cloned();
                upstream.local_identity = connection.facts.local_identity().cloned();
                if let Some(workload) = connection.peer_workload.get() {
                    upstream.workload = Some(Arc::clone(workload));
                }
            }
        });
    }

    /// The response head is about to go out.
    pub fn answers(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.note(|record| {
            record.status = status.as_u16();
            record.response_head_bytes = head_bytes(headers) + 16;
            if record.is_grpc {
                record.grpc_status = grpc::status_of(headers);
            }
            if let Some(captured) = &mut record.captured {
                captured.response(headers);
            }
        });
    }

    /// Holds the upstream side until the response is over.
    pub fn holds(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream);
    }

    /// A frame of the response goes out.
    pub fn sending(&mut self, frame: &Frame<Bytes>) {
        self.note(|record| {
            if let Some(data) = frame.data_ref() {
                record.bytes_sent += data.len() as u64;
            } else if let Some(trailers) = frame.trailers_ref() {
                if record.is_grpc {
                    record.grpc_status = grpc::status_of(trailers).or(record.grpc_status);
                }
                if let Some(captured) = &mut record.captured {
                    captured.trailers(trailers);
                }
            }
        });
    }

    /// The upstream broke off in the middle of its response.
    pub fn response_broke(&mut self, failure: Failure) {
        let error = Error { failure, sent: Sent::Answered, reused: false, transport: None };
        self.fails_after_headers(&error);
    }

    /// The route's timeout ended the response.
    pub fn response_timed_out(&mut self) {
        self.fails_after_headers(&Error { failure: Failure::RouteTimeout, sent: Sent::Answered, reused: false, transport: None });
    }

    fn fails_after_headers(&mut self, error: &Error) {
        self.ended = true;
        self.upstream = None;
        self.note(|record| {
            record.flags.insert(error.flags());
            record.details = error.details_after_headers();
        });
    }

    /// The last byte of the response has been handed to the codec.
    pub fn complete(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.upstream = None;
    }

    /// Bytes that crossed after an upgrade, once the tunnel is closed.
    pub fn tunnelled(&mut self, received: u64, sent: u64) {
        self.ended = true;
        self.note(|record| {
            record.bytes_received += received;
            record.bytes_sent += sent;
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let record = &mut self.record;
        if !self.ended {
            record.flags.insert(ResponseFlags::DC);
            record.details = Cow::Borrowed("downstream_remote_disconnect");
        }
        record.duration = clock::now() - self.started;
        record.bytes_received += self.upload.as_ref().map_or(0, |upload| upload.received());
        self.worker.telemetry.http(record);
    }
}

/// Bytes of header fields as HTTP/1 would write them.
fn head_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() as u64
}
