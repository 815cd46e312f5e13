//! The routes of one configuration at run time, each made when a request first takes it; see [`crate::upstream::Clusters`],
//! which are made likewise.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_config::model::{Route, RouteId, Snapshot, TcpRoute};

use super::state::{RouteRef, RouteState};
use crate::snapshot::Slot;

type Place = Arc<Slot<RouteState>>;

/// Run-time state of routes, by [`RouteId`].
#[derive(Debug, Default)]
pub struct RouteStates {
    places: Box<[Place]>,
}

impl RouteStates {
    /// The routes of `model`, continuing those of `previous` with the same key.
    pub fn carry_over(model: &Snapshot, previous: Option<(&Snapshot, &RouteStates)>) -> RouteStates {
        let known: HashMap<&str, (RouteRef<'_>, &Place)> =
            previous.map(|(model, routes)| routes.by_key(model).collect()).unwrap_or_default();
        let mut places = vec![None; model.route_count as usize];
        for route in routes(model) {
            if let Some(place @ None) = places.get_mut(route.id().0 as usize) {
                *place = Some(match known.get(route.key()) {
                    Some((before, place)) if before.is_continued_by(&route) => Arc::clone(place),
                    Some((_, place)) => Arc::new(slot_after(place, &route)),
                    None => Place::default(),
                });
            }
        }
        RouteStates { places: places.into_iter().map(Option::unwrap_or_default).collect() }
    }

    /// The state of a route of the snapshot these are the routes of.
    pub fn get(&self, route: &Route) -> Option<&Arc<RouteState>> {
        self.made(RouteRef::Http(route))
    }

    /// The state of a route of connections, likewise.
    pub fn get_tcp(&self, route: &TcpRoute) -> Option<&Arc<RouteState>> {
        self.made(RouteRef::Tcp(route))
    }

    fn made(&self, route: RouteRef<'_>) -> Option<&Arc<RouteState>> {
        self.place(route.id()).map(|place| place.get_or_make(|first| RouteState::next(&route, first)))
    }

    fn place(&self, id: RouteId) -> Option<&Place> {
        self.places.get(id.0 as usize)
    }

    fn by_key<'m>(&'m self, model: &'m Snapshot) -> impl Iterator<Item = (&'m str, (RouteRef<'m>, &'m Place))> {
        routes(model).filter_map(|route| Some((route.key(), (route, self.place(route.id())?))))
    }
}

/// Every route of requests and of connections; shared ones may come more than once.
fn routes(model: &Snapshot) -> impl Iterator<Item = RouteRef<'_>> {
    let hosts = model.route_configurations().flat_map(|table| &table.virtual_hosts);
    hosts.flat_map(|host| &host.routes).map(RouteRef::Http).chain(model.tcp_routes().map(RouteRef::Tcp))
}

/// The slot of a route that has changed.
fn slot_after(before: &Slot<RouteState>, route: &RouteRef<'_>) -> Slot<RouteState> {
    match before.latest() {
        Some(state) => Slot::made(RouteState::next(route, Some(&state))),
        None => before.in_line(),
    }
}

#[cfg(test)]
mod tests;
