//! Clusters at run time: which endpoint, over which connection.

use std::sync::Arc;

use outrigger_config::model::Snapshot;

pub mod pool;

/// Run-time state of one cluster, carried over from snapshot to snapshot by cluster name.
#[derive(Debug)]
pub struct ClusterState {}

impl ClusterState {
    /// States for all clusters of `model`, in its order; those of `previous` with the same name are kept.
    pub fn carry_over(model: &Snapshot, _previous: &[Arc<ClusterState>]) -> Vec<Arc<ClusterState>> {
        model.clusters.iter().map(|_| Arc::new(ClusterState {})).collect()
    }
}
