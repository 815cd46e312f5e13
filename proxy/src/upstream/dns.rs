//! STRICT_DNS clusters: names resolved in the background, every address balanced, each name's last good answer kept.
//!
//! The request path never waits for a name: before the first answer the cluster has no host (503 UH). Resolution is the
//! operating system's, which does not tell TTLs; half a minute stands in for them. Several clusters are resolved at a time,
//! so that a name server that does not answer for one holds up few others, and names that fail are asked for less and less
//! often: a lookup that was given up goes on holding a thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use outrigger_config::model::{Discovery, DnsTarget, Endpoint};
use tokio::time::Instant;

use super::cluster::{ClusterState, retire};
use super::host::bare_endpoint;
use crate::snapshot::ConfigHandle;

/// Time between two resolutions of names that were resolved, and the longest between two that were not.
const REFRESH: Duration = Duration::from_secs(30);
/// Time after the first failure in a row; doubles with each.
const RETRY: Duration = Duration::from_secs(1);
/// How often new clusters are looked for.
const TICK: Duration = Duration::from_millis(200);
/// Time for one resolution.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Clusters resolved at a time.
const PARALLEL: usize = 16;

/// Resolves the names of every STRICT_DNS cluster of the configuration in force. Never returns; run it once, on the
/// control thread.
pub async fn run(config: ConfigHandle) {
    let mut known: HashMap<u64, Names> = HashMap::new();
    loop {
        let clusters: Vec<_> = config.load().clusters.made().filter(|cluster| cluster.resolvable().is_some()).cloned().collect();
        known.retain(|id, _| clusters.iter().any(|cluster| cluster.id == *id));
        let mut due = Vec::new();
        for cluster in clusters {
            let Discovery::StrictDns(targets) = &cluster.model.discovery else { continue };
            let names = known.remove(&cluster.id).unwrap_or_default().following(targets);
            if names.due.is_some_and(|due| Instant::now() < due) {
                known.insert(cluster.id, names);
            } else {
                due.push(names.refreshed(cluster));
            }
        }
        let mut due = futures_util::stream::iter(due).buffer_unordered(PARALLEL);
        while let Some((id, names)) = due.next().await {
            known.insert(id, names);
        }
        tokio::time::sleep(TICK).await;
    }
}

/// The names of one cluster with what was last heard of each.
#[derive(Debug, Default)]
struct Names {
    answers: Vec<(DnsTarget, Vec<Arc<Endpoint>>)>,
    failures: u32,
    /// When to ask again; `None` = now.
    due: Option<Instant>,
}

impl Names {
    /// The same for the names that the configuration lists now.
    fn following(mut self, targets: &[DnsTarget]) -> Names {
        if self.answers.iter().map(|(target, _)| target).eq(targets) {
            return self;
        }
        let mut known = |target: &DnsTarget| {
            let position = self.answers.iter().position(|(known, _)| known == target);
            position.map(|position| self.answers.swap_remove(position).1).unwrap_or_default()
        };
        Names { answers: targets.iter().map(|target| (target.clone(), known(target))).collect(), ..Names::default() }
    }

    /// Asks for every name. A name without an answer keeps its last one.
    async fn refreshed(mut self, cluster: Arc<ClusterState>) -> (u64, Names) {
        let mut failed = false;
        for (target, known) in &mut self.answers {
            let answer = resolve(&cluster, target).await;
            failed |= answer.is_empty();
            if !answer.is_empty() {
                *known = answer;
            }
        }
        let mut endpoints: Vec<Arc<Endpoint>> = self.answers.iter().flat_map(|(_, known)| known).cloned().collect();
        endpoints.sort_by_key(|endpoint| endpoint.address);
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        if !endpoints.is_empty() {
            store(&cluster, &endpoints);
        }
        self.failures = if failed { self.failures + 1 } else { 0 };
        self.due = Some(Instant::now() + pause(self.failures));
        (cluster.id, self)
    }
}

/// Time until the names are asked for again, after so many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => REFRESH,
        failures => (RETRY * 2u32.pow(failures.min(6) - 1)).min(REFRESH),
    }
}

/// The addresses of a name; none when there is no answer.
async fn resolve(cluster: &ClusterState, target: &DnsTarget) -> Vec<Arc<Endpoint>> {
    let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
    match tokio::time::timeout(TIMEOUT, lookup).await {
        Ok(Ok(addresses)) => return addresses.map(|address| Arc::new(bare_endpoint(address, target.weight))).collect(),
        Ok(Err(error)) => tracing::debug!(cluster = %cluster.name, host = target.host, %error, "name not resolved"),
        Err(_) => tracing::debug!(cluster = %cluster.name, host = target.host, "name not resolved in time"),
    }
    Vec::new()
}

fn store(cluster: &ClusterState, endpoints: &[Arc<Endpoint>]) {
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

    use outrigger_config::model::{Cluster, LbPolicy, UpstreamProtocol, UpstreamTls};

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
            connection_pool: Arc::default(),
            tls: UpstreamTls::Disabled,
            service: None,
            port: 80,
            subset: String::new(),
            external: true,
        }))
    }

    fn target(host: &str) -> DnsTarget {
        DnsTarget { host: host.to_owned(), port: 80, weight: 1 }
    }

    async fn ask(state: &Arc<ClusterState>, names: Names, hosts: &[&str]) -> Names {
        let targets: Vec<DnsTarget> = hosts.iter().map(|host| target(host)).collect();
        names.following(&targets).refreshed(Arc::clone(state)).await.1
    }

    fn addresses(state: &ClusterState) -> Vec<String> {
        state.hosts().iter().map(|host| host.address().to_string()).collect()
    }

    const NOBODY: &str = "does-not-exist.invalid";

    #[tokio::test]
    async fn all_addresses_of_all_names_are_hosts_and_a_failure_keeps_them() {
        let state = cluster(&[("127.0.0.1", 80), ("127.0.0.2", 80)]);
        assert!(state.hosts().is_empty(), "before the first answer there is none");
        let names = ask(&state, Names::default(), &["127.0.0.1", "127.0.0.2"]).await;
        assert_eq!(addresses(&state), ["127.0.0.1:80", "127.0.0.2:80"]);
        ask(&state, names, &[NOBODY]).await;
        assert_eq!(state.hosts().len(), 2);
    }

    #[tokio::test]
    async fn a_name_that_fails_keeps_its_last_answer_and_leaves_the_others_theirs() {
        let state = cluster(&[("127.0.0.1", 80), (NOBODY, 80)]);
        let heard = vec![Arc::new(bare_endpoint(([127, 0, 0, 9], 80).into(), 1))];
        let names = Names { answers: vec![(target("127.0.0.1"), Vec::new()), (target(NOBODY), heard)], ..Names::default() };
        let names = ask(&state, names, &["127.0.0.1", NOBODY]).await;
        assert_eq!(addresses(&state), ["127.0.0.1:80", "127.0.0.9:80"]);
        assert_eq!(names.failures, 1);
    }

    #[tokio::test]
    async fn an_address_that_is_no_longer_answered_is_retired() {
        let state = cluster(&[("127.0.0.1", 80), ("127.0.0.2", 80)]);
        let names = ask(&state, Names::default(), &["127.0.0.1", "127.0.0.2"]).await;
        let before = state.hosts();
        ask(&state, names, &["127.0.0.2"]).await;
        assert_eq!(before.iter().map(|host| host.is_removed()).collect::<Vec<_>>(), [true, false]);
        assert!(Arc::ptr_eq(&before[1], &state.hosts()[0]), "the other is the same object");
    }

    #[test]
    fn names_that_fail_are_asked_for_less_and_less_often() {
        let pauses: Vec<u64> = (0..8).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [30, 1, 2, 4, 8, 16, 30, 30]);
    }
}
