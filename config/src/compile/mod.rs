//! From the registry to the run-time model of one workload.
//!
//! Pure and deterministic: equal objects give equal snapshots. Problems that concern several objects (a missing subset,
//! an unknown host) are the validator's; here only that is reported which cannot be compiled.
//!
//! Reading order: [`compile`] below; `context` holds the indexed inputs. Outbound: `listener`, `virtual_host`,
//! `route`, `tcp_route`, `cluster`. Inbound: `inbound`. Gateways: `gateway`. The rest are single subjects that
//! these ask: who applies (`virtual_service`, `destination_rule`, `service`), and what a field means.

mod access_log;
mod action;
mod cluster;
mod context;
mod delegate;
mod destination;
mod destination_rule;
mod endpoint;
mod fault;
mod format;
mod gateway;
mod gateway_merge;
mod gateway_tls;
mod header_ops;
mod host;
mod inbound;
mod listener;
mod mesh;
mod retry;
mod route;
mod route_match;
mod secret;
mod service;
mod tcp_route;
mod traffic_policy;
mod upstream_tls;
mod virtual_host;
mod virtual_service;

use std::sync::Arc;

pub use self::access_log::settings as access_log_settings;
use self::context::Context;
use crate::diagnostic::Diagnostic;
use crate::model::{Node, Outbound, ProxyType, Snapshot};
use crate::registry::Registry;

/// The result of [`compile`].
#[derive(Debug)]
pub struct Compiled {
    /// What the proxy serves by.
    pub snapshot: Snapshot,
    /// What could not be compiled as written, in the order found.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles everything one workload needs. Never fails: what cannot be used is left out and told.
pub fn compile(registry: &Registry, node: &Node) -> Compiled {
    let mut cx = Context::new(registry, node);
    let mut clusters = cluster::outbound(&cx);
    let sidecar = node.proxy_type == ProxyType::Sidecar;
    if sidecar {
        clusters.extend(inbound::clusters(&cx));
    }
    let (clusters, names) = cluster::index(clusters);
    cx.cluster_names = names;
    let unknown = cx.cluster(cluster::unknown(&cx)).unwrap_or_default();
    let outbound = match sidecar {
        true => listener::outbound(&cx, unknown),
        false => Outbound { unknown, ..Outbound::default() },
    };
    let inbound = sidecar.then(|| inbound::chains(&cx));
    let gateways = if sidecar { Vec::new() } else { gateway::listeners(&cx) };
    let mesh = mesh::settings(&cx);
    let Context { routes, diagnostics, .. } = cx;
    let snapshot = Snapshot { node: Arc::new(node.clone()), mesh, outbound, inbound, gateways, clusters, route_count: routes.get() };
    Compiled { snapshot, diagnostics: diagnostics.into_inner() }
}

#[cfg(test)]
mod tests;
