//! The run-time model: what one proxy needs to serve traffic, in Envoy's vocabulary.
//!
//! A [`Snapshot`] is immutable and holds no run-time state. Cursors, pools, active requests and statistics live in the
//! proxy, keyed by the stable names found here (cluster names, endpoint addresses, route keys), so that a new snapshot
//! changes decisions without losing state. Nothing here knows which door (files, Kubernetes, xDS) it came through.
//!
//! Dense numbers ([`ClusterId`], [`RouteId`]) are valid within one snapshot only: they let the proxy keep resolved
//! handles in a vector beside the snapshot instead of looking names up per request.

mod cluster;
mod endpoint;
mod filter_chain;
mod gateway;
mod listener;
mod node;
mod route;
mod snapshot;
mod tls;

pub use cluster::*;
pub use endpoint::*;
pub use filter_chain::*;
pub use gateway::*;
pub use listener::*;
pub use node::*;
pub use route::*;
pub use snapshot::*;
pub use tls::*;
