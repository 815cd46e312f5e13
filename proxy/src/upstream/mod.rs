//! Clusters at run time: which endpoint, over which connection.
//!
//! [`ClusterState`] joins one cluster of the model with what must survive configuration changes: cursors, active requests,
//! limits and statistics. [`ClusterState::pick`] chooses a host, [`connect::connect`] dials it, [`pool`] keeps the
//! connections. TCP proxying uses the first two, HTTP all three, and [`upload`] for the bodies it sends.

mod cluster;
mod clusters;
mod host;
mod limits;
pub(crate) mod transparent;

pub mod lb;

pub mod body;
pub mod connect;
pub mod dns;
pub mod http1;
pub mod http2;
pub mod pool;
pub mod upload;

pub use cluster::{ClusterState, PickContext, PickError};
pub use clusters::Clusters;
pub use host::{Host, HostState, Picked};
pub use limits::{Limits, Permit, Resource};
