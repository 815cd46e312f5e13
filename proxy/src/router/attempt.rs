//! One attempt: a host, a connection, the request as the upstream shall see it, the head of its answer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, response, uri};
use outrigger_config::model::{RetryPolicy, UpstreamProtocol};
use tokio::time::Instant;

use super::answer::source;
use super::arrival::with_path;
use super::exchange::{Exchange, scheme};
use super::kept_head::KeptHead;
use super::retry;
use super::route;
use super::stream::Upstream;
use super::timeout::{Deadline, within};
use crate::error::{Error, Failure, Sent};
use crate::http::headers::Answered;
use crate::http::{header_operations, headers, peers};
use crate::http1::Framing;
use crate::listener::Direction;
use crate::runtime::clock;
use crate::upstream::body::UpstreamBody;
use crate::upstream::connect::Protocol;
use crate::upstream::http1::{self, Notes, Outgoing};
use crate::upstream::http2;
use crate::upstream::pool::{Connection, Lease, Want};
use crate::upstream::{ClusterState, Host, Permit, PickContext, Picked, Resource};

/// An answered attempt.
#[derive(Debug)]
pub struct Answer {
    /// Head and body of the upstream.
    pub response: Response<UpstreamBody>,
    /// What it came over, when that is of interest: the answer tells about the peer, or the connection becomes a tunnel.
    pub connection: Option<Arc<Connection>>,
    /// What is held until the body is over.
    pub upstream: Upstream,
    /// What its head carries.
    pub seen: Answered,
    /// From the request's departure to the head of the response.
    pub service_time: Duration,
}

/// The attempts of one exchange so far.
#[derive(Debug, Default)]
pub struct Tries {
    /// Attempts begun.
    pub number: u32,
    /// Retries that counted against the policy.
    pub retries: u32,
    /// The one fresh connection after a lost keep-alive race was used up.
    pub refreshed: bool,
    /// The next attempt wants a connection of its own.
    pub fresh: bool,
    /// Time limit of the whole exchange, and when it began.
    limit: Option<(Duration, Instant)>,
    /// Hosts to avoid, unless the policy says that they need not be.
    hosts: Vec<SocketAddr>,
    last_host: Option<SocketAddr>,
    /// Localities of the attempts, when the policy leaves out those used.
    localities: Vec<String>,
    last_locality: Option<String>,
    /// Where an attempt is under way that the time limit may end.
    under_way: Option<Arc<Host>>,
    retrying: Option<Permit>,
}

impl Tries {
    /// No attempt yet, with a time limit for all of them.
    pub fn within(limit: Option<Duration>) -> Self {
        Tries { limit: limit.map(|limit| (limit, clock::now())), ..Tries::default() }
    }

    /// What is left of the time limit.
    fn remaining(&self) -> Option<Duration> {
        self.limit.map(|(limit, begun)| limit.saturating_sub(clock::now() - begun))
    }

    /// Remembers where an attempt goes, as far as the policy makes the next one depend on it or the time limit may end it.
    fn goes_to(&mut self, host: &Arc<Host>, policy: Option<&RetryPolicy>) {
        self.under_way = self.limit.map(|_| Arc::clone(host));
        let Some(policy) = policy else { return };
        self.last_host = policy.ignore_previous_hosts.then(|| host.address());
        self.last_locality = policy.retry_remote_localities.then(|| host.endpoint.locality.clone());
    }

    /// The time limit of the exchange is over: it ended the attempt under way, if there is one.
    pub fn run_out(&mut self) {
        if let Some(host) = self.under_way.take() {
            host.state.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Remembers what the next attempt must respect.
    pub fn prepare_next(&mut self, retries: u32, reused: bool, permit: Permit) {
        self.retries = retries;
        self.fresh = reused;
        self.hosts.extend(self.last_host);
        self.localities.extend(self.last_locality.take());
        self.under_way = None;
        self.retrying = Some(permit);
    }
}

/// What an attempt brought back.
struct Travelled {
    response: Response<UpstreamBody>,
    connection: Option<Arc<Connection>>,
    seen: Answered,
    service_time: Duration,
}

impl Travelled {
    /// The answer to a request that was sent then; `None` if nobody could tell what belongs to it.
    fn with(head: response::Parts, body: Unread, lease: Lease, sent: Instant) -> Option<Travelled> {
        let seen = Answered::of(&head.headers);
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        // A client goes on in the other protocol once its request is sent (RFC 9110, 7.8); until then nobody can tell which of
        // its bytes belong to which.
        if seen.has_two_lengths() || (switches && lease.is_uploading()) {
            return None;
        }
        let connection = (seen.peer_metadata || switches).then(|| Arc::clone(lease.connection()));
        let body = match body {
            Unread::Http2(body) => UpstreamBody::http2(body, lease),
            Unread::Http1(_, rest) if switches => UpstreamBody::switching(rest, lease),
            Unread::Http1(framing, rest) => UpstreamBody::http1(framing, rest, lease),
        };
        Some(Travelled { response: Response::from_parts(head, body), connection, seen, service_time: clock::now() - sent })
    }
}

/// A body whose connection is still in our hands.
enum Unread {
    Http1(Framing, Bytes),
    Http2(http2::Answered),
}

fn head(status: StatusCode, headers: HeaderMap) -> response::Parts {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.into_parts().0
}

impl Exchange<'_> {
    /// Changes the request as the route and the destination say: Host, path, headers. Done once, before the first attempt.
    pub(super) fn prepare(&mut self, cluster: &ClusterState) {
        let (route, destination) = (self.route, self.destination);
        let mut map = std::mem::take(&mut self.head.headers);
        let mut authority = None;
        if let Some(destination) = destination {
            let source = || source(self.connection, &self.head, &self.authority);
            let ordered = header_operations::request_order(route, destination, self.single);
            for operations in ordered.iter().filter(|operations| !operations.is_empty()) {
                self.host_stands = false;
                header_operations::apply(operations, &mut map, header_operations::Source { request: None, ..source() });
            }
            let written = route.request_headers.authority.as_ref().or(destination.request_headers.authority.as_ref());
            authority = written.and_then(|format| header_operations::render(format, source(), &map));
        }
        if let Some(rewrite) = &route.rewrite {
            if let Some(path) = route::rewrite(&rewrite.path, self.head.uri.path(), self.head.uri.query()) {
                if let Ok(original) = HeaderValue::try_from(self.head.uri.path_and_query().map_or("/", PathAndQuery::as_str)) {
                    map.insert(headers::ORIGINAL_PATH, original);
                }
                self.head.uri = with_path(&self.head.uri, path);
            }
            authority = rewrite.authority.as_deref().and_then(|host| HeaderValue::try_from(host).ok()).or(authority);
        }
        if let Some(authority) = authority {
            (self.authority, self.host_stands) = (authority, false);
        }
        if self.connection.downstream.direction != Direction::Inbound {
            self.introduce(cluster, &mut map);
        }
        self.head.headers = map;
    }

    /// What a proxy tells the proxy at the other end.
    fn introduce(&self, cluster: &ClusterState, map: &mut HeaderMap) {
        // Pods of a headless service are in the mesh although the client chose the address; unknown destinations have no service.
        let inside = !cluster.model.external && cluster.model.service.is_some();
        if let (true, Some(own)) = (inside, self.routing.config.peer_metadata()) {
            peers::introduce(own, map);
        }
        if let Some(decorator) = self.state.and_then(|state| state.decorator.as_ref()).filter(|_| inside) {
            map.insert(headers::DECORATOR, decorator.clone());
        }
    }

    /// Sends the request once.
    pub(super) async fn attempt(&mut self, cluster: &Arc<ClusterState>, tries: &mut Tries) -> Result<Answer, Error> {
        let permit = cluster.acquire(Resource::Requests).ok_or_else(|| Error::unsent(Failure::Overflow))?;
        let context =
            PickContext { destination: self.connection.downstream.destination, tried: &tries.hosts, localities: &tries.localities };
        let picked = cluster.pick(context).map_err(|_| Error::unsent(Failure::NoHealthyUpstream))?;
        tries.goes_to(picked.host(), self.route.retry.as_deref());
        self.stream.tries(&picked, tries.number);
        let per_try = self.route.retry.as_ref().and_then(|policy| policy.per_try_timeout);
        let mut deadline = per_try.map(|limit| Deadline::new(limit, self.upload.as_ref(), clock::now()));
        let travelled = {
            let travel = pin!(self.travel(cluster, &picked, tries));
            within(deadline.as_mut(), travel).await
        };
        let result = travelled
            .unwrap_or_else(|| Err(Error { failure: Failure::PerTryTimeout, sent: Sent::Unanswered, reused: false, transport: None }));
        let charged = match &result {
            Ok(travelled) => travelled.response.status().is_server_error(),
            Err(error) => error.failure != Failure::Downstream,
        };
        if charged {
            picked.state.errors.fetch_add(1, Ordering::Relaxed);
        }
        let Travelled { response, connection, seen, service_time } = result?;
        Ok(Answer { response, connection, seen, upstream: Upstream { picked, permit }, service_time })
    }

    async fn travel(&mut self, cluster: &Arc<ClusterState>, picked: &Picked, tries: &Tries) -> Result<Travelled, Error> {
        let protocol = self.protocol(cluster);
        let worker = &self.connection.worker;
        let want = Want {
            cluster,
            host: picked.host(),
            protocol,
            server_name: self.authority.to_str().ok(),
            identity: &worker.identity,
            fresh: tries.fresh,
            careful: !self.head.method.is_idempotent(),
            source: self.connection.downstream.source,
        };
        let mut lease = worker.pool.checkout(want).await?;
        self.stream.travels_over(lease.connection());
        let reused = lease.is_reused();
        let sent = clock::now();
        let (head, body) = match protocol {
            Protocol::Http2 => {
                let keep = retry::may_follow(self.route.retry.as_deref(), reused, self.history(tries));
                let headers = self.take_headers(keep);
                let upload = self.upload.as_ref().map(|upload| upload.attempt());
                let waiting = lease.start(self.request(headers, tries), upload)?;
                let (head, body) = waiting.await.map_err(|unanswered| lease.failed(unanswered))?;
                (head, Unread::Http2(body))
            }
            Protocol::Http1 | Protocol::Tcp => {
                let http1::Answer { status, headers, framing, rest, .. } = lease.exchange(self.outgoing(tries)).await?;
                (head(status, headers), Unread::Http1(framing, rest))
            }
        };
        let protocol_error = || Error { failure: Failure::Protocol, sent: Sent::Answered, reused, transport: None };
        Travelled::with(head, body, lease, sent).ok_or_else(protocol_error)
    }

    fn protocol(&self, cluster: &ClusterState) -> Protocol {
        let http2 = match cluster.model.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::UseDownstream | UpstreamProtocol::Tcp => self.head.version == Version::HTTP_2,
        };
        if http2 && !self.upgrade { Protocol::Http2 } else { Protocol::Http1 }
    }

    /// The prepared headers for one attempt. `keep`: another attempt may want them too.
    fn take_headers(&mut self, keep: bool) -> HeaderMap {
        if let Some(kept) = &self.kept {
            return kept.restore();
        }
        let headers = std::mem::take(&mut self.head.headers);
        if keep || self.answer_quotes_request() {
            self.kept = Some(KeptHead::of(&headers));
        }
        headers
    }

    /// Headers that tell of the attempt.
    fn notes(&self, tries: &Tries) -> Notes {
        // The application is to see which attempt of the client's proxy it serves: Istio's inbound routes leave the header.
        let outward = self.connection.downstream.direction != Direction::Inbound;
        let limit = self.route.retry.as_ref().and_then(|policy| policy.per_try_timeout).or_else(|| tries.remaining());
        Notes {
            attempt: outward.then_some(tries.number),
            expected_millis: limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The request as an HTTP/1 upstream shall see it. Its headers stay here, for another attempt or for an answer that
    /// quotes them.
    fn outgoing(&mut self, tries: &Tries) -> Outgoing<'_> {
        let mut notes = self.notes(tries);
        if self.answer_quotes_request() {
            std::mem::take(&mut notes).insert(&mut self.head.headers);
        }
        if !self.host_stands {
            self.head.headers.insert(HOST, self.authority.clone());
        }
        Outgoing {
            method: &self.head.method,
            target: self.head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            headers: &self.head.headers,
            notes,
            upload: self.upload.as_ref().map(|upload| upload.attempt()),
        }
    }

    /// The request as an HTTP/2 upstream shall see it.
    fn request(&self, mut headers: HeaderMap, tries: &Tries) -> Request<()> {
        self.notes(tries).insert(&mut headers);
        headers.remove(HOST);
        headers::fit_for_http2(&mut headers);
        let mut request = Request::new(());
        *request.method_mut() = self.head.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.absolute_uri(&headers);
        *request.headers_mut() = headers;
        request
    }

    fn absolute_uri(&self, headers: &HeaderMap) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(if scheme(headers) == "https" { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = self.head.uri.authority().filter(|said| said.as_str().as_bytes() == self.authority.as_bytes()).cloned();
        if parts.authority.is_none() {
            parts.authority = Authority::try_from(self.authority.as_bytes()).ok();
        }
        parts.path_and_query = self.head.uri.path_and_query().cloned();
        Uri::from_parts(parts).unwrap_or_default()
    }
}
