//! Which cluster a connection goes to.

use std::sync::Arc;

use outrigger_config::model::{ClusterId, TcpDestination, TcpRoute};

use crate::snapshot::Config;
use crate::upstream::ClusterState;

/// Where a connection goes, with the run-time state of the place.
#[derive(Clone, Debug)]
pub enum Target {
    /// A cluster.
    Cluster(Arc<ClusterState>),
    /// The configuration names a cluster that does not exist: the connection is closed with flag NC.
    Missing(String),
}

impl Target {
    /// Draws one of a route's weighted clusters.
    pub fn route(config: &Config, route: &TcpRoute) -> Target {
        match draw(&route.clusters, rand::random()) {
            Some(TcpDestination { cluster: Some(id), name, .. }) => Self::known(config, *id, name),
            Some(destination) => Target::Missing(destination.name.clone()),
            None => Target::Missing(route.key.clone()),
        }
    }

    /// A cluster of the configuration.
    pub fn cluster(config: &Config, id: ClusterId) -> Target {
        Self::known(config, id, "")
    }

    fn known(config: &Config, id: ClusterId, name: &str) -> Target {
        config.cluster(id).map_or_else(|| Target::Missing(name.to_owned()), |cluster| Target::Cluster(Arc::clone(cluster)))
    }
}

/// The destination at a random point of the weights' sum. A lone destination needs no weight.
fn draw(destinations: &[TcpDestination], random: u64) -> Option<&TcpDestination> {
    let total: u64 = destinations.iter().map(|destination| u64::from(destination.weight)).sum();
    if total == 0 {
        return destinations.first();
    }
    let mut point = random % total;
    destinations.iter().find(|destination| {
        let weight = u64::from(destination.weight);
        let here = point < weight;
        point = point.saturating_sub(weight);
        here
    })
}
