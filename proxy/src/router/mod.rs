//! One request: route, attempts, response.

use std::sync::Arc;

use outrigger_config::model::Snapshot;

/// Run-time state of one route: the split's cursor and schedule, resolved statistics.
#[derive(Debug)]
pub struct RouteState {}

impl RouteState {
    /// States by [`outrigger_config::model::RouteId`]; those of `previous` with the same key are kept.
    pub fn carry_over(_model: &Snapshot, _previous: &[Arc<RouteState>]) -> Vec<Arc<RouteState>> {
        Vec::new()
    }
}
