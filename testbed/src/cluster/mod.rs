//! What a cluster's control plane does, for one machine.

pub mod naming;
pub mod rollout;
pub mod workload;
