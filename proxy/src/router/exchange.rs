//! One request from its head to its response: route, inject faults, try and try again, answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use outrigger_config::matcher::RequestHead;
use outrigger_config::model::{Route, RouteAction, WeightedCluster};

use super::RouteState;
use super::arrival::{self, Arrival, Refused};
use super::attempt::{Answer, Tries};
use super::kept_head::KeptHead;
use super::retry::{self, History, Outcome, Verdict};
use super::route::{self, RequestTarget};
use super::stream::Stream;
use super::timeout::{self, Deadline, within};
use crate::error::{Error, Failure, Sent};
use crate::filter::fault;
use crate::http::body::{ClientBody, ResponseBody};
use crate::http::headers::FORWARDED_PROTO;
use crate::http::local_reply::{LocalReply, respond};
use crate::http::peers::Received;
use crate::http::{Routing, ServedConnection};
use crate::runtime::{clock, spawn};
use crate::telemetry::ResponseFlags;
use crate::upstream::upload::Upload;
use crate::upstream::{ClusterState, Resource};

/// Serves one request.
pub async fn serve(connection: &ServedConnection, request: Request<ClientBody>) -> Response<ResponseBody> {
    let routing = connection.routing();
    let mut exchange = match begin(connection, &routing, request) {
        Ok(exchange) => exchange,
        Err(response) => return *response,
    };
    let ending = exchange.act().await;
    exchange.finish(ending)
}

/// All that needs no waiting: checks and routes a request, or answers it here. Apart from [`serve`], whose future would keep room
/// for what is only needed in between.
fn begin<'a>(
    connection: &'a ServedConnection,
    routing: &'a Routing,
    request: Request<ClientBody>,
) -> Result<Exchange<'a>, Box<Response<ResponseBody>>> {
    let (head, body) = request.into_parts();
    let arrival = arrival::receive(connection, routing, head, body).map_err(|refused| {
        let Refused { reply, is_head, stream } = *refused;
        Box::new(respond(reply, stream, is_head, connection.downstream.direction, |_| ()))
    })?;
    match select(connection, routing, &arrival) {
        Selected::Reply(reply) => {
            let is_head = arrival.head.method == Method::HEAD;
            Err(Box::new(respond(reply, arrival.stream, is_head, connection.downstream.direction, |_| ())))
        }
        Selected::Route(route) => Ok(Exchange::begin(connection, routing, route, arrival)),
    }
}

/// Books a request whose client gave it up before it was looked at. It takes no turn of a split: nobody is sent to. Nor is any
/// answer made, for a request that would have been refused or redirected either: the books say what the client was sent, which
/// is nothing, and so a disconnection with code 0. (Envoy answers such a request in the instant it has read the head, before it
/// comes to the reset, and books that answer.)
pub fn forgo(connection: &ServedConnection, request: Request<ClientBody>) {
    let (head, body) = request.into_parts();
    let routing = connection.routing();
    let Ok(arrival) = arrival::receive(connection, &routing, head, body) else { return };
    if let Selected::Route(route) = select(connection, &routing, &arrival) {
        let mut exchange = Exchange::begin(connection, &routing, route, arrival);
        if let RouteAction::Forward(destinations) = &route.action
            && let [WeightedCluster { cluster: Some(id), .. }] = &destinations[..]
            && let Some(cluster) = routing.config.cluster(*id)
        {
            exchange.stream.heads_for(cluster);
        }
    }
}

/// What the route table says.
enum Selected<'a> {
    Route(&'a Route),
    Reply(LocalReply),
}

fn select<'a>(connection: &ServedConnection, routing: &'a Routing, arrival: &Arrival) -> Selected<'a> {
    let no_route = || Selected::Reply(LocalReply::new(StatusCode::NOT_FOUND, "", "route_not_found").flag(ResponseFlags::NR));
    let authority = arrival.authority.to_str().unwrap_or_default();
    let Some(table) = routing.table(&connection.downstream) else {
        connection.strand();
        return no_route();
    };
    let Some(host) = table.virtual_host(authority) else { return no_route() };
    let head = &arrival.head;
    if host.require_tls && connection.downstream.tls.is_none() {
        return Selected::Reply(route::to_https(target(head, authority), connection.downstream.destination));
    }
    let request = RequestHead {
        method: head.method.as_str(),
        scheme: scheme(&head.headers),
        authority,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
    };
    match host.index.find(&request, &host.routes).and_then(|rule| host.routes.get(rule)) {
        Some(route) => Selected::Route(route),
        None => no_route(),
    }
}

fn target<'a>(head: &'a Parts, authority: &'a str) -> RequestTarget<'a> {
    RequestTarget { scheme: scheme(&head.headers), authority, path: head.uri.path(), query: head.uri.query() }
}

/// `x-forwarded-proto`, which the sanitiser has made sure is there, when it makes sense.
pub(super) fn scheme(headers: &HeaderMap) -> &'static str {
    if headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https") { "https" } else { "http" }
}

/// How the way upstream ended.
pub(super) enum Ending {
    /// It was not taken: the answer is made here.
    Local(LocalReply),
    /// The last attempt failed; whether there were others before.
    Failed(Error, bool),
    /// The upstream answered; what is left of the deadline holds for its body.
    Answered(Answer, Option<Deadline>),
}

/// A request with its route.
pub(super) struct Exchange<'a> {
    pub connection: &'a ServedConnection,
    pub routing: &'a Routing,
    pub route: &'a Route,
    pub state: Option<&'a Arc<RouteState>>,
    /// The destination drawn; none for redirects and direct responses.
    pub destination: Option<&'a WeightedCluster>,
    /// Whether the route has only one destination.
    pub single: bool,
    pub head: Parts,
    pub authority: HeaderValue,
    /// The authority is what the `host` header says.
    pub host_stands: bool,
    /// The headers sent upstream over HTTP/2, while another attempt or the answer may want them.
    pub kept: Option<KeptHead>,
    pub upload: Option<Arc<Upload>>,
    pub upgrade: bool,
    pub received: Received,
    pub stream: Box<Stream>,
}

impl<'a> Exchange<'a> {
    fn begin(connection: &'a ServedConnection, routing: &'a Routing, route: &'a Route, arrival: Arrival) -> Self {
        let Arrival { head, authority, host_stands, upload, upgrade, received, mut stream } = arrival;
        let state = routing.config.route(route);
        stream.note(|record| record.route_name = state.map_or_else(|| route.name.as_str().into(), |state| Arc::clone(&state.name)));
        Exchange {
            connection,
            routing,
            route,
            state,
            destination: None,
            single: true,
            head,
            authority,
            host_stands,
            kept: None,
            upload,
            upgrade,
            received,
            stream,
        }
    }

    /// Does what the route says. Takes `&mut self`, so that the future holds one exchange and not one per stage.
    async fn act(&mut self) -> Ending {
        let route = self.route;
        match &route.action {
            RouteAction::Redirect(redirect) => {
                let authority = self.authority.to_str().unwrap_or_default();
                let target = target(&self.head, authority);
                Ending::Local(route::redirect(redirect, target, self.connection.downstream.destination))
            }
            RouteAction::DirectResponse(response) => Ending::Local(route::direct_response(response)),
            RouteAction::Forward(destinations) => {
                let position = self.draw(destinations);
                let cluster = self.destination.and_then(|destination| destination.cluster).and_then(|id| self.routing.config.cluster(id));
                if let Some(cluster) = cluster {
                    self.stream.heads_for(cluster);
                }
                if let (Some(fault), Some(state)) = (&route.fault, self.state)
                    && let Some(reply) = Box::pin(fault::inject(fault, state, position, &mut self.stream)).await
                {
                    return Ending::Local(reply);
                }
                match cluster {
                    Some(cluster) => self.forward(cluster).await,
                    None => {
                        Ending::Local(LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "", "cluster_not_found").flag(ResponseFlags::NC))
                    }
                }
            }
        }
    }

    /// Draws the destination and returns its position.
    fn draw(&mut self, destinations: &'a [WeightedCluster]) -> usize {
        let decision = self.state.map(|state| state.split.draw());
        let position = decision.map_or(0, |decision| decision.destination);
        self.destination = destinations.get(position).or(destinations.first());
        self.single = destinations.len() == 1;
        self.stream.note(|record| record.decision = decision.map_or(0, |decision| decision.number));
        position
    }

    async fn forward(&mut self, cluster: &Arc<ClusterState>) -> Ending {
        self.prepare(cluster);
        let limit = timeout::effective(self.route.timeout, self.stream.is_grpc(), &self.head.headers);
        let mut deadline = limit.map(|limit| Deadline::new(limit, self.upload.as_ref(), clock::now()));
        let mut tries = Tries::within(limit);
        let result = {
            let attempts = pin!(self.attempts(cluster, &mut tries));
            within(deadline.as_mut(), attempts).await
        };
        match result {
            Some(Ok(answer)) => Ending::Answered(answer, deadline),
            Some(Err(error)) => Ending::Failed(error, tries.number > 1),
            None => {
                tries.run_out();
                Ending::Failed(Error { sent: Sent::Unanswered, ..Error::unsent(Failure::RouteTimeout) }, tries.number > 1)
            }
        }
    }

    /// Tries until something stands (Istio semantics 1.11).
    async fn attempts(&mut self, cluster: &Arc<ClusterState>, tries: &mut Tries) -> Result<Answer, Error> {
        let policy = self.route.retry.as_deref();
        loop {
            tries.number += 1;
            let result = self.attempt(cluster, tries).await;
            let outcome = match &result {
                Ok(answer) => Outcome::Answered(answer.response.status(), answer.response.headers()),
                Err(error) => Outcome::Failed(error),
            };
            match retry::verdict(policy, outcome, self.history(tries)) {
                Verdict::Stands { exhausted } => {
                    if exhausted {
                        self.stream.note(|record| record.flags.insert(ResponseFlags::URX));
                    }
                    return result;
                }
                Verdict::Refresh => (tries.refreshed, tries.fresh) = (true, true),
                Verdict::Again(number) => {
                    let Some(permit) = cluster.acquire(Resource::Retries) else {
                        self.stream.note(|record| record.flags.insert(ResponseFlags::UO));
                        return result;
                    };
                    tries.prepare_next(number, result.as_ref().is_err_and(|error| error.reused), permit);
                    let base = policy.map_or_else(Default::default, |policy| policy.backoff);
                    discard(result);
                    tokio::time::sleep(retry::backoff(base, number, rand::random())).await;
                }
            }
        }
    }

    pub(super) fn history(&self, tries: &Tries) -> History<'_> {
        History {
            method: &self.head.method,
            replayable: self.upload.as_ref().is_none_or(|upload| upload.is_replayable()),
            retries: tries.retries,
            refreshed: tries.refreshed,
        }
    }
}

/// Reads a small answer that is not passed on to its end, so that its connection can be used again; one that takes its
/// time loses it. It counts as a request in flight no longer, since the next attempt needs the place.
fn discard(result: Result<Answer, Error>) {
    const DRAINED: u64 = 64 * 1024;
    const PATIENCE: Duration = Duration::from_secs(1);
    /// Bytes of the task.
    const DISCARD: usize = 384;
    let Ok(Answer { response, upstream, .. }) = result else { return };
    drop(upstream);
    let mut body = response.into_body();
    let large = http_body::Body::size_hint(&body).upper().is_none_or(|size| size > DRAINED);
    if large || http_body::Body::is_end_stream(&body) {
        return;
    }
    spawn::<DISCARD, _>(async move {
        let reading = async { while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {} };
        let _ = tokio::time::timeout(PATIENCE, reading).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<F: Future>(_: impl Fn(&'static ServedConnection, Request<ClientBody>) -> F) -> usize {
        size_of::<F>()
    }

    /// Every HTTP/1 connection keeps room for this future, idle ones included.
    #[test]
    fn an_exchange_in_progress_stays_small() {
        let size = future_size(serve);
        assert!(size <= 3072, "{size} bytes");
    }
}
