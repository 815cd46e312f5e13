//! Destinations of routes: names, ports and weights.
//!
//! Source: Istio semantics 1.13. A destination that leads nowhere keeps its name, so that the answer (503 NC) and the
//! log can say what was meant.

use super::context::Context;
use super::header_ops;
use super::host;
use crate::api::virtual_service::{Destination, HttpRouteDestination, RouteDestination};
use crate::model::{ClusterId, TcpDestination, WeightedCluster};

/// A destination found out.
pub(super) struct Target {
    /// Cluster name.
    pub(super) name: String,
    /// The cluster, if there is one.
    pub(super) cluster: Option<ClusterId>,
    /// Host of the service.
    pub(super) host: String,
    /// Service port.
    pub(super) port: u16,
}

/// Finds the cluster of a destination written in `namespace`. Without a port it is the service's only one, else the
/// port on which the request arrived.
pub(super) fn resolve(cx: &Context<'_>, destination: &Destination, namespace: &str, arrived_on: u16) -> Target {
    let host = host::expand(&destination.host, namespace, &cx.node.cluster_domain);
    let service = cx.services.get(&host);
    let only_port = service.and_then(|service| if let [port] = service.ports.as_slice() { Some(port.number) } else { None });
    let written = destination.port.as_ref().map(|port| u16::try_from(port.number).unwrap_or(0)).filter(|port| *port != 0);
    let port = written.or(only_port).unwrap_or(arrived_on);
    let host = service.map_or(host, |service| service.host().to_owned());
    let name = host::outbound_cluster(port, &destination.subset, &host);
    Target { cluster: cx.cluster(&name), name, host, port }
}

/// Indexes of the destinations that get traffic, with their weights: those of weight 0 are left out unless one stands
/// alone, which takes everything.
pub(super) fn shares(weights: &[i32]) -> Vec<(usize, u32)> {
    if let [_] = weights {
        return vec![(0, 1)];
    }
    let positive = |(index, weight): (usize, &i32)| u32::try_from(*weight).ok().filter(|weight| *weight > 0).map(|weight| (index, weight));
    weights.iter().enumerate().filter_map(positive).collect()
}

/// Destinations of an HTTP rule. Also returns the target when there is exactly one.
pub(super) fn http(
    cx: &Context<'_>,
    route: &[HttpRouteDestination],
    namespace: &str,
    arrived_on: u16,
    complaints: &mut Vec<(String, String)>,
) -> (Vec<WeightedCluster>, Option<Target>) {
    let weights: Vec<i32> = route.iter().map(|entry| entry.weight).collect();
    let shares = shares(&weights);
    let mut clusters = Vec::with_capacity(shares.len());
    let mut only = None;
    for (index, weight) in shares {
        let Some(entry) = route.get(index) else { continue };
        let target = resolve(cx, &entry.destination, namespace, arrived_on);
        let mut own = Vec::new();
        clusters.push(WeightedCluster {
            name: target.name.clone(),
            cluster: target.cluster,
            weight,
            request_headers: header_ops::request(entry.headers.as_ref(), &mut own),
            response_headers: header_ops::response(entry.headers.as_ref(), &mut own),
        });
        complaints.extend(own.into_iter().map(|(field, message)| (format!("route[{index}].{field}"), message)));
        only = if clusters.len() == 1 { Some(target) } else { None };
    }
    (clusters, only)
}

/// Destinations of a TLS or TCP rule.
pub(super) fn tcp(cx: &Context<'_>, route: &[RouteDestination], namespace: &str, arrived_on: u16) -> Vec<TcpDestination> {
    let weights: Vec<i32> = route.iter().map(|entry| entry.weight).collect();
    let convert = |(index, weight): (usize, u32)| {
        let target = resolve(cx, &route.get(index)?.destination, namespace, arrived_on);
        Some(TcpDestination { name: target.name, cluster: target.cluster, weight })
    };
    shares(&weights).into_iter().filter_map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn weight_zero_gets_nothing_unless_it_stands_alone() {
        assert_eq!(shares(&[0]), [(0, 1)]);
        assert_eq!(shares(&[7]), [(0, 1)]);
        assert_eq!(shares(&[50, 0, 30]), [(0, 50), (2, 30)]);
        assert_eq!(shares(&[0, 100]), [(1, 100)]);
        assert_eq!(shares(&[0, 0]), []);
        assert_eq!(shares(&[]), []);
    }
}
