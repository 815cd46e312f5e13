//! Run-time state of routes, carried over from snapshot to snapshot by route key.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use outrigger_config::model::{Fault, Route, RouteAction, Snapshot, TcpRoute};

use super::split::{Share, Split};

/// The texts of a route that its state turns into shared values.
#[derive(Clone, Copy)]
struct RouteNames<'a> {
    key: &'a str,
    name: &'a str,
    decorator: &'a str,
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
    /// States by [`outrigger_config::model::RouteId`]; those of `previous` with the same key go on where they are, each
    /// part as long as its own settings stay.
    pub fn carry_over(model: &Snapshot, previous: &[Arc<RouteState>]) -> Vec<Arc<RouteState>> {
        let known: HashMap<&str, &Arc<RouteState>> = previous.iter().map(|state| (state.key.as_str(), state)).collect();
        let mut states: Vec<Option<Arc<RouteState>>> = vec![None; model.route_count as usize];
        let hosts = model.route_configurations().flat_map(|table| &table.virtual_hosts);
        for route in hosts.flat_map(|host| &host.routes) {
            if let Some(place) = states.get_mut(route.id.0 as usize) {
                *place = Some(Self::next(route, known.get(route.key.as_str()).copied()));
            }
        }
        for route in model.tcp_routes() {
            if let Some(place) = states.get_mut(route.id.0 as usize) {
                *place = Some(Self::next_tcp(route, known.get(route.key.as_str()).copied()));
            }
        }
        let unused = Arc::new(Self::build(RouteNames { key: "", name: "", decorator: "" }, Vec::new(), None, None));
        states.into_iter().map(|state| state.unwrap_or_else(|| Arc::clone(&unused))).collect()
    }

    fn next(route: &Route, previous: Option<&Arc<RouteState>>) -> Arc<RouteState> {
        let weights: Vec<(String, u64)> = match &route.action {
            RouteAction::Forward(clusters) => clusters.iter().map(|cluster| (cluster.name.clone(), u64::from(cluster.weight))).collect(),
            RouteAction::Redirect(_) | RouteAction::DirectResponse(_) => Vec::new(),
        };
        let names = RouteNames { key: &route.key, name: &route.name, decorator: &route.decorator };
        Self::continued(names, weights, route.fault.as_deref().cloned(), previous)
    }

    /// Connections have a split as requests have, and nothing else.
    fn next_tcp(route: &TcpRoute, previous: Option<&Arc<RouteState>>) -> Arc<RouteState> {
        let weights = route.clusters.iter().map(|cluster| (cluster.name.clone(), u64::from(cluster.weight))).collect();
        Self::continued(RouteNames { key: &route.key, name: "", decorator: "" }, weights, None, previous)
    }

    fn continued(
        names: RouteNames<'_>,
        weights: Vec<(String, u64)>,
        fault: Option<Fault>,
        previous: Option<&Arc<RouteState>>,
    ) -> Arc<RouteState> {
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
