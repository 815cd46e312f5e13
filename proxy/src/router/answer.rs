//! The answer of an exchange: the upstream's, handed on, or one made here.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use outrigger_config::model::{HeaderOperations, Route, WeightedCluster};

use super::attempt::Answer;
use super::exchange::{Ending, Exchange};
use super::timeout::Deadline;
use crate::error::{Error, Failure, Sent};
use crate::http::ServedConnection;
use crate::http::body::ResponseBody;
use crate::http::header_operations::{self, RequestLine, Source};
use crate::http::headers::{self, Answered};
use crate::http::local_reply::{LocalReply, respond};
use crate::http::peers::Received;
use crate::http::upgrade::Switched;
use crate::http1::maps;
use crate::listener::Direction;
use crate::upstream::pool::Connection;

impl Exchange<'_> {
    /// The response to the client.
    pub(super) fn finish(self, ending: Ending) -> Response<ResponseBody> {
        match ending {
            Ending::Local(reply) => self.reply(reply),
            Ending::Failed(error, retried) => self.fail(&error, retried),
            Ending::Answered(answer, _) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => self.switch(answer),
            Ending::Answered(answer, deadline) => self.answer(answer, deadline),
        }
    }

    /// Hands the upstream's answer on.
    fn answer(mut self, answer: Answer, deadline: Option<Deadline>) -> Response<ResponseBody> {
        let Answer { response, connection, seen, upstream, service_time } = answer;
        let (mut head, body) = response.into_parts();
        self.clean_answer(&mut head.headers, seen, connection.as_deref(), false);
        head.headers.insert(headers::SERVICE_TIME, headers::number(u64::try_from(service_time.as_millis()).unwrap_or(u64::MAX)));
        self.finish_headers(&mut head.headers);
        head.version = Version::HTTP_11;
        head.extensions.clear();
        self.stream.note(|record| {
            record.details = Cow::Borrowed("via_upstream");
            if let Some(upstream) = &mut record.upstream {
                upstream.service_time = Some(service_time);
            }
        });
        self.stream.answers(head.status, &head.headers);
        self.settle();
        self.stream.holds(upstream);
        if !self.answer_quotes_request() {
            maps::recycle(std::mem::take(&mut self.head.headers));
        }
        Response::from_parts(head, ResponseBody::upstream(body, deadline, self.stream))
    }

    /// Hands a 101 on and turns both connections into a tunnel.
    fn switch(mut self, answer: Answer) -> Response<ResponseBody> {
        if !self.upgrade {
            return self.fail(&Error { failure: Failure::Protocol, sent: Sent::Unanswered, reused: false, transport: None }, false);
        }
        let Answer { response, connection, seen, upstream, .. } = answer;
        let (mut head, body) = response.into_parts();
        let (Some(server), Some(connection)) = (body.into_tunnel(), connection) else {
            return self.fail(&Error { failure: Failure::Protocol, sent: Sent::Unanswered, reused: false, transport: None }, false);
        };
        self.clean_answer(&mut head.headers, seen, Some(&connection), true);
        self.finish_headers(&mut head.headers);
        self.stream.note(|record| record.details = Cow::Borrowed("via_upstream"));
        self.stream.answers(head.status, &head.headers);
        // The tunnel keeps the books, and with them the upload, for as long as it lasts.
        self.settle();
        self.stream.holds(upstream);
        let tunnel = Switched::new((server, connection), self.stream);
        Response::from_parts(head, ResponseBody::switched(tunnel))
    }

    /// Answers a request whose last attempt failed.
    fn fail(mut self, error: &Error, retried: bool) -> Response<ResponseBody> {
        self.stream.note(|record| {
            if let Some(upstream) = &mut record.upstream {
                upstream.transport_failure = error.transport.clone();
            }
        });
        if error.failure == Failure::Downstream && self.upload.as_ref().is_some_and(|upload| upload.is_malformed()) {
            return self.reply(LocalReply::bad_request("http1.codec_error"));
        }
        self.reply(LocalReply::for_error(error, retried))
    }

    /// Answers locally, with the response header operations of the route.
    pub(super) fn reply(mut self, reply: LocalReply) -> Response<ResponseBody> {
        self.settle();
        self.restore_quoted();
        let is_head = self.head.method == Method::HEAD;
        let direction = self.connection.downstream.direction;
        let Exchange { connection, routing, route, destination, single, head, authority, received, stream, .. } = self;
        respond(reply, stream, is_head, direction, |headers| {
            if direction == Direction::Inbound
                && let Some(own) = routing.config.peer_metadata()
            {
                received.answer(own, headers);
            }
            response_operations(route, destination, single, headers, || source(connection, &head, &authority));
        })
    }

    /// No attempt follows: what was kept of the request's body for another is let go.
    fn settle(&self) {
        if let Some(upload) = &self.upload {
            upload.stop_recording();
        }
    }

    fn clean_answer(&mut self, map: &mut HeaderMap, seen: Answered, connection: Option<&Connection>, upgrade: bool) {
        let direction = self.connection.downstream.direction;
        headers::sanitize_response(map, seen, direction, upgrade);
        if direction == Direction::Inbound || !seen.peer_metadata {
            return;
        }
        let peer = Received::take(map);
        if let Some(connection) = connection.filter(|connection| connection.peer_workload.get().is_none())
            && let Some(workload) = peer.workload()
        {
            let _ = connection.peer_workload.set(workload);
            self.stream.travels_over(connection);
        }
    }

    /// Whether a response header operation is made of values of the request.
    pub(super) fn answer_quotes_request(&self) -> bool {
        let destination = self.destination.is_some_and(|destination| destination.response_headers.has_templates());
        destination || self.route.response_headers.has_templates()
    }

    fn restore_quoted(&mut self) {
        if let Some(kept) = self.kept.as_ref().filter(|_| self.answer_quotes_request()) {
            self.head.headers = kept.restore();
        }
    }

    fn finish_headers(&mut self, map: &mut HeaderMap) {
        self.restore_quoted();
        if self.connection.downstream.direction == Direction::Inbound
            && let Some(own) = self.routing.config.peer_metadata()
        {
            self.received.answer(own, map);
        }
        response_operations(self.route, self.destination, self.single, map, || source(self.connection, &self.head, &self.authority));
    }
}

static NO_OPERATIONS: HeaderOperations = HeaderOperations { remove: Vec::new(), set: Vec::new(), add: Vec::new(), authority: None };

/// Where `%VAR%` values of this exchange come from.
pub(super) fn source<'s>(connection: &'s ServedConnection, head: &'s Parts, authority: &'s HeaderValue) -> Source<'s> {
    let line = RequestLine {
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        authority: authority.to_str().unwrap_or_default(),
    };
    let protocol = match head.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    Source { downstream: &connection.downstream, request: Some(&head.headers), line, protocol }
}

fn response_operations<'s>(
    route: &Route,
    destination: Option<&WeightedCluster>,
    single: bool,
    map: &mut HeaderMap,
    source: impl Fn() -> Source<'s>,
) {
    let ordered = match destination {
        Some(destination) => header_operations::response_order(route, destination, single),
        None => [&route.response_headers, &NO_OPERATIONS],
    };
    for operations in ordered.into_iter().filter(|operations| !operations.is_empty()) {
        header_operations::apply(operations, map, source());
    }
}
