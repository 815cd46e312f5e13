//! Health on 15021, the status server on 15020, Envoy's metrics on 15090 (sidecar contract 1 and 6.5).

mod agent_metrics;
mod compression;
mod fetch;
mod grpc_health;
mod merge;
mod probes;
mod scrape_targets;
mod server;

pub use server::bind;
