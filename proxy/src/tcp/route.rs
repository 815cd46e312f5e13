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
    /// Draws one of a route's weighted clusters, by the same exact schedule as requests.
    pub fn route(config: &Config, route: &TcpRoute) -> Target {
        let drawn = config.tcp_route(route).map_or(0, |state| state.split.draw().destination);
        match weighted(&route.clusters, drawn) {
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

/// The destination that was drawn. Where a single one has a weight nothing is drawn and that one is meant; a lone
/// destination needs no weight.
fn weighted(destinations: &[TcpDestination], drawn: usize) -> Option<&TcpDestination> {
    let chosen = destinations.get(drawn).filter(|destination| destination.weight > 0);
    chosen.or_else(|| destinations.iter().find(|destination| destination.weight > 0)).or_else(|| destinations.first())
}

#[cfg(test)]
mod tests {
    use super::{TcpDestination, weighted};

    #[test]
    fn weight_zero_gets_nothing_unless_it_stands_alone() {
        let destinations = |weights: &[u32]| -> Vec<TcpDestination> {
            weights.iter().map(|weight| TcpDestination { name: weight.to_string(), cluster: None, weight: *weight }).collect()
        };
        let chosen = |weights: &[u32], drawn| weighted(&destinations(weights), drawn).map(|destination| destination.weight);
        assert_eq!(chosen(&[0, 100], 0), Some(100));
        assert_eq!(chosen(&[30, 70], 1), Some(70));
        assert_eq!(chosen(&[0], 0), Some(0));
        assert_eq!(chosen(&[], 0), None);
    }
}
