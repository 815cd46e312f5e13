//! Run-time state of one route: what a request draws from, and names shared with its records.

use std::sync::Arc;

use http::HeaderValue;
use outrigger_config::model::{Fault, Route, RouteAction, RouteId, TcpRoute};

use super::split::{Share, Split};

/// A route of requests or of connections, which have a split as requests have, and nothing else.
#[derive(Clone, Copy)]
pub(super) enum RouteRef<'a> {
    /// Of requests.
    Http(&'a Route),
    /// Of connections.
    Tcp(&'a TcpRoute),
}

/// The texts of a route that its state turns into shared values.
#[derive(Clone, Copy, PartialEq)]
struct RouteNames<'a> {
    key: &'a str,
    name: &'a str,
    decorator: &'a str,
}

impl<'a> RouteRef<'a> {
    pub(super) fn id(&self) -> RouteId {
        match self {
            RouteRef::Http(route) => route.id,
            RouteRef::Tcp(route) => route.id,
        }
    }

    pub(super) fn key(&self) -> &'a str {
        self.names().key
    }

    /// Whether one state serves both.
    pub(super) fn is_continued_by(&self, next: &RouteRef<'_>) -> bool {
        self.names() == next.names() && self.fault() == next.fault() && self.destinations().eq(next.destinations())
    }

    fn names(&self) -> RouteNames<'a> {
        match self {
            RouteRef::Http(route) => RouteNames { key: &route.key, name: &route.name, decorator: &route.decorator },
            RouteRef::Tcp(route) => RouteNames { key: &route.key, name: "", decorator: "" },
        }
    }

    fn fault(&self) -> Option<&'a Fault> {
        match self {
            RouteRef::Http(route) => route.fault.as_deref(),
            RouteRef::Tcp(_) => None,
        }
    }

    /// Names and weights of the destinations.
    fn destinations(&self) -> impl Iterator<Item = (&'a str, u32)> {
        let (http, tcp): (&[_], &[_]) = match self {
            RouteRef::Http(Route { action: RouteAction::Forward(clusters), .. }) => (clusters, &[]),
            RouteRef::Http(_) => (&[], &[]),
            RouteRef::Tcp(route) => (&[], &route.clusters),
        };
        let http = http.iter().map(|destination| (destination.name.as_str(), destination.weight));
        http.chain(tcp.iter().map(|destination| (destination.name.as_str(), destination.weight)))
    }

    fn weights(&self) -> Vec<(String, u64)> {
        self.destinations().map(|(name, weight)| (name.to_owned(), u64::from(weight))).collect()
    }
}

/// Run-time state of one route: the split's cursor and schedule, those of the faults, and names shared with records.
#[derive(Debug)]
pub struct RouteState {
    /// [`Route::key`] or [`TcpRoute::key`].
    pub key: String,
    /// [`Route::name`], shared with every record about the route.
    pub name: Arc<str>,
    /// Draws the destination.
    pub split: Arc<Split>,
    /// Draws the delay; never when the route has none.
    pub delay: Arc<Share>,
    /// Draws the abort; likewise.
    pub abort: Arc<Share>,
    /// Value of `x-envoy-decorator-operation`; `None` when the route has none.
    pub decorator: Option<HeaderValue>,
    weights: Vec<(String, u64)>,
    fault: Option<Fault>,
}

impl RouteState {
    /// The state of a route. That of `previous`, of the same key, goes on where it is, each part as long as its own settings
    /// stay.
    pub(super) fn next(route: &RouteRef<'_>, previous: Option<&Arc<RouteState>>) -> Arc<RouteState> {
        let (names, weights, fault) = (route.names(), route.weights(), route.fault().cloned());
        match previous {
            Some(state) if state.weights == weights && state.fault == fault && state.has_names(names) => Arc::clone(state),
            _ => Arc::new(Self::build(names, weights, fault, previous.map(Arc::as_ref))),
        }
    }

    fn has_names(&self, names: RouteNames<'_>) -> bool {
        *self.name == *names.name && self.decorator.as_ref().map_or("", |value| value.to_str().unwrap_or_default()) == names.decorator
    }

    fn build(names: RouteNames<'_>, weights: Vec<(String, u64)>, fault: Option<Fault>, previous: Option<&RouteState>) -> RouteState {
        let split = match previous {
            Some(state) if state.weights == weights => Arc::clone(&state.split),
            _ => Arc::new(Split::new(&weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), rand::random)),
        };
        let same_faults = previous.filter(|state| state.fault == fault && state.weights.len() == weights.len());
        let share = |per_million: Option<u32>| Arc::new(Share::new(per_million.unwrap_or(0), weights.len(), rand::random));
        let delay = |fault: &Fault| fault.delay.map(|delay| delay.per_million);
        let abort = |fault: &Fault| fault.abort.map(|abort| abort.per_million);
        RouteState {
            key: names.key.to_owned(),
            name: names.name.into(),
            decorator: HeaderValue::try_from(names.decorator).ok().filter(|value| !value.is_empty()),
            split,
            delay: same_faults.map_or_else(|| share(fault.as_ref().and_then(delay)), |state| Arc::clone(&state.delay)),
            abort: same_faults.map_or_else(|| share(fault.as_ref().and_then(abort)), |state| Arc::clone(&state.abort)),
            weights,
            fault,
        }
    }
}
