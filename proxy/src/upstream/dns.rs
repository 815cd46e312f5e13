//! STRICT_DNS clusters: names resolved in the background, every address balanced, the last good answer kept.
//!
//! The request path never waits for a name: before the first answer the cluster has no host (503 UH). Resolution is the
//! operating system's, which does not tell TTLs; half a minute stands in for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::model::{Discovery, DnsTarget, Endpoint};
use tokio::time::Instant;

use super::cluster::{ClusterState, resolved_endpoint, retire};
use crate::snapshot::ConfigHandle;

/// Time between two resolutions of a name that was resolved.
const REFRESH: Duration = Duration::from_secs(30);
/// Time between two resolutions of a name that was not.
const RETRY: Duration = Duration::from_secs(1);
/// How often new clusters are looked for.
const TICK: Duration = Duration::from_millis(200);
/// Time for one resolution.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves the names of every STRICT_DNS cluster of the configuration in force. Never returns; run it once, on the
/// control thread.
pub async fn run(config: ConfigHandle) {
    let mut due: HashMap<u64, (Vec<DnsTarget>, Instant)> = HashMap::new();
    loop {
        let clusters: Vec<_> = config.load().clusters().iter().filter(|cluster| cluster.resolvable().is_some()).cloned().collect();
        due.retain(|id, _| clusters.iter().any(|cluster| cluster.id == *id));
        for cluster in &clusters {
            let Discovery::StrictDns(targets) = &cluster.model.discovery else { continue };
            let waiting = due.get(&cluster.id).is_some_and(|(known, at)| known == targets && Instant::now() < *at);
            if !waiting {
                let pause = if refresh(cluster, targets).await { REFRESH } else { RETRY };
                due.insert(cluster.id, (targets.clone(), Instant::now() + pause));
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Resolves one cluster; false when a name gave no address, in which case the previous answer for the cluster stays.
async fn refresh(cluster: &ClusterState, targets: &[DnsTarget]) -> bool {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for target in targets {
        let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
        match tokio::time::timeout(TIMEOUT, lookup).await {
            Ok(Ok(addresses)) => endpoints.extend(addresses.map(|address| resolved_endpoint(address, target.weight))),
            Ok(Err(error)) => tracing::debug!(cluster = %cluster.name, host = target.host, %error, "name not resolved"),
            Err(_) => tracing::debug!(cluster = %cluster.name, host = target.host, "name not resolved in time"),
        }
    }
    endpoints.sort_by_key(|endpoint| endpoint.address);
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    if endpoints.is_empty() {
        return false;
    }
    store(cluster, &endpoints);
    true
}

fn store(cluster: &ClusterState, endpoints: &[Endpoint]) {
    let Some(place) = cluster.resolvable() else { return };
    let before = place.load_full();
    let unchanged =
        before.hosts().len() == endpoints.len() && before.hosts().iter().zip(endpoints).all(|(host, endpoint)| host.endpoint == *endpoint);
    if !unchanged {
        let after = Arc::new(before.updated(endpoints));
        retire(before.hosts(), after.hosts());
        place.store(after);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use outrigger_config::model::{Cluster, ConnectionPool, LbPolicy, UpstreamProtocol, UpstreamTls};

    use super::*;

    fn cluster(targets: &[(&str, u16)]) -> Arc<ClusterState> {
        let target = |(host, port): &(&str, u16)| DnsTarget { host: (*host).to_owned(), port: *port, weight: 1 };
        ClusterState::single(Arc::new(Cluster {
            name: "outbound|80||external".to_owned(),
            discovery: Discovery::StrictDns(targets.iter().map(target).collect()),
            lb_policy: LbPolicy::RoundRobin,
            endpoints: Vec::new(),
            protocol: UpstreamProtocol::Http1,
            connect_timeout: Duration::from_secs(1),
            connection_pool: ConnectionPool::default(),
            tls: UpstreamTls::Disabled,
            service: None,
            port: 80,
            subset: String::new(),
            external: true,
        }))
    }

    async fn resolve(cluster: &ClusterState) -> bool {
        let Discovery::StrictDns(targets) = &cluster.model.discovery else { return false };
        refresh(cluster, targets).await
    }

    #[tokio::test]
    async fn all_addresses_of_all_names_are_hosts_and_a_failure_keeps_them() {
        let state = cluster(&[("127.0.0.1", 80), ("127.0.0.2", 8080)]);
        assert!(state.hosts().is_empty(), "before the first answer there is none");
        assert!(resolve(&state).await);
        let addresses: Vec<_> = state.hosts().iter().map(|host| host.address().to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:80", "127.0.0.2:8080"]);
        assert!(!refresh(&state, &[DnsTarget { host: "does-not-exist.invalid".to_owned(), port: 80, weight: 1 }]).await);
        assert_eq!(state.hosts().len(), 2);
    }

    #[tokio::test]
    async fn an_address_that_is_no_longer_answered_is_retired() {
        let state = cluster(&[("127.0.0.1", 80), ("127.0.0.2", 80)]);
        assert!(resolve(&state).await);
        let before = state.hosts();
        assert!(refresh(&state, &[DnsTarget { host: "127.0.0.2".to_owned(), port: 80, weight: 1 }]).await);
        assert_eq!(before.iter().map(|host| host.is_removed()).collect::<Vec<_>>(), [true, false]);
        assert!(Arc::ptr_eq(&before[1], &state.hosts()[0]), "the other is the same object");
    }
}
