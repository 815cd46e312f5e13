//! A cluster at run time: its description joined with the state that survives configuration changes.
//!
//! The join is immutable and rebuilt per snapshot; unchanged clusters keep the very same `Arc`. What survives is keyed by
//! cluster name (cursor, limits, original-destination hosts, DNS answers) and, within it, by address (active requests).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use outrigger_config::model::{Cluster, Discovery, LbPolicy, ServiceRef};

use super::host::{Host, HostState, Picked};
use super::lb::HostSet;
use super::limits::{Limits, Permit, Resource};

/// How often a retry draws again when it gets a host that was tried already (Istio's `hostSelectionRetryMaxAttempts`).
const RESELECTIONS: usize = 5;

/// Original-destination hosts remembered per cluster; beyond that, those without a user are forgotten.
const DYNAMIC_HOSTS: usize = 1024;

/// One cluster of one configuration generation.
#[derive(Debug)]
pub struct ClusterState {
    /// Istio's cluster name.
    pub name: Arc<str>,
    /// The description.
    pub model: Arc<Cluster>,
    /// Service behind the cluster, shared with every record about it.
    pub service: Option<Arc<ServiceRef>>,
    /// Stays with the name.
    pub id: u64,
    /// Distinguishes transport securities in pool keys; a new number when the cluster's TLS settings change.
    pub transport: u64,
    /// Tokens of the circuit breakers.
    pub limits: Arc<Limits>,
    cursor: Arc<AtomicU64>,
    hosts: Hosts,
}

#[derive(Debug)]
enum Hosts {
    /// From the model.
    Fixed(HostSet),
    /// Replaced by [`super::dns`].
    Resolved(Arc<ArcSwap<HostSet>>),
    /// Made as original destinations appear.
    Dynamic(Arc<ArcSwap<HashMap<SocketAddr, Arc<Host>>>>),
    /// None ever.
    Nothing,
}

/// What a choice of host depends on besides the cluster.
#[derive(Clone, Copy, Debug)]
pub struct PickContext<'a> {
    /// Destination as the client dialled it, for clusters that follow it.
    pub destination: SocketAddr,
    /// Hosts to avoid because they failed this request already; empty on a first try.
    pub tried: &'a [SocketAddr],
    /// Localities of the earlier attempts in their order, when those used are to be left out (`retryRemoteLocalities`).
    pub localities: &'a [String],
}

/// Why there is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickError {
    /// No endpoint is ready: 503 UH, or the connection closes with UH.
    NoHealthyUpstream,
    /// BlackHoleCluster: the connection is closed.
    BlackHole,
}

impl ClusterState {
    /// The state of a cluster on its own.
    #[cfg(test)]
    pub(super) fn single(cluster: Arc<Cluster>) -> Arc<ClusterState> {
        Self::next(&cluster, None)
    }

    /// The state of a cluster; `previous` is that of the same name before.
    pub(super) fn next(cluster: &Arc<Cluster>, previous: Option<&Arc<ClusterState>>) -> Arc<ClusterState> {
        match previous {
            Some(state) if Arc::ptr_eq(&state.model, cluster) || *state.model == **cluster => Arc::clone(state),
            _ => Arc::new(Self::build(cluster, previous.map(Arc::as_ref))),
        }
    }

    fn build(cluster: &Arc<Cluster>, previous: Option<&ClusterState>) -> ClusterState {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let fresh_id = || IDS.fetch_add(1, Ordering::Relaxed);
        let same_tls = previous.filter(|state| state.model.tls == cluster.tls);
        ClusterState {
            name: previous.map_or_else(|| cluster.name.as_str().into(), |state| Arc::clone(&state.name)),
            model: Arc::clone(cluster),
            service: cluster.service.clone(),
            id: previous.map_or_else(fresh_id, |state| state.id),
            transport: same_tls.map_or_else(fresh_id, |state| state.transport),
            limits: previous.map(|state| Arc::clone(&state.limits)).unwrap_or_default(),
            cursor: previous.map_or_else(|| Arc::new(AtomicU64::new(u64::from(rand::random::<u32>()))), |state| Arc::clone(&state.cursor)),
            hosts: Hosts::build(cluster, previous),
        }
    }

    /// The hosts of this moment. Original-destination clusters list those seen lately.
    pub fn hosts(&self) -> Vec<Arc<Host>> {
        match &self.hosts {
            Hosts::Fixed(set) => set.hosts().to_vec(),
            Hosts::Resolved(set) => set.load().hosts().to_vec(),
            Hosts::Dynamic(map) => map.load().values().cloned().collect(),
            Hosts::Nothing => Vec::new(),
        }
    }

    /// Takes back that hosts from the description are gone. Others are never two states' at different times.
    pub(super) fn keep_hosts(&self) {
        if let Hosts::Fixed(set) = &self.hosts {
            set.hosts().iter().for_each(|host| host.state.removed.store(false, Ordering::Relaxed));
        }
    }

    /// Chooses a host by the cluster's policy and counts it as active until the result is dropped.
    ///
    /// # Errors
    /// When there is none to choose.
    pub fn pick(&self, context: PickContext<'_>) -> Result<Picked, PickError> {
        match &self.hosts {
            Hosts::Fixed(set) => self.balance(set, context),
            Hosts::Resolved(set) => self.balance(&set.load(), context),
            Hosts::Dynamic(map) => Ok(Picked::new(self.original_destination(map, context.destination))),
            Hosts::Nothing => Err(PickError::BlackHole),
        }
    }

    /// Takes a circuit-breaker token; `None` means overflow (flag UO).
    pub fn acquire(&self, resource: Resource) -> Option<Permit> {
        let pool = &self.model.connection_pool;
        let max = match resource {
            Resource::Connections => pool.max_connections,
            Resource::Pending => pool.max_pending_requests,
            Resource::Requests => pool.max_requests,
            Resource::Retries => pool.max_retries,
        };
        self.limits.acquire(resource, max)
    }

    /// Own address of connections to this cluster: the application of this pod is reached from 127.0.0.6 or ::6, which
    /// the capture rules let through.
    pub fn source_address(&self, destination: IpAddr) -> Option<IpAddr> {
        let source = match destination {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 6]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6]),
        };
        (self.model.discovery == Discovery::Inbound).then_some(source)
    }

    /// Names to resolve, with the place of the answer; `None` for clusters that are not STRICT_DNS.
    pub(super) fn resolvable(&self) -> Option<&Arc<ArcSwap<HostSet>>> {
        match &self.hosts {
            Hosts::Resolved(set) => Some(set),
            _ => None,
        }
    }

    fn balance(&self, set: &HostSet, context: PickContext<'_>) -> Result<Picked, PickError> {
        let used = left_out(context.localities, set);
        let remaining = (!used.is_empty()).then(|| set.outside(&used));
        let set = remaining.as_ref().unwrap_or(set);
        let choose = || match self.model.lb_policy {
            LbPolicy::RoundRobin => set.round_robin(self.cursor.fetch_add(1, Ordering::Relaxed)),
            LbPolicy::Random => set.random(rand::random()),
            LbPolicy::LeastRequest | LbPolicy::Passthrough => set.least_request(rand::random(), rand::random()),
        };
        let mut chosen = choose().ok_or(PickError::NoHealthyUpstream)?;
        for _ in 0..RESELECTIONS {
            if !context.tried.contains(&chosen.address()) {
                break;
            }
            chosen = choose().ok_or(PickError::NoHealthyUpstream)?;
        }
        Ok(Picked::new(Arc::clone(chosen)))
    }

    fn original_destination(&self, map: &ArcSwap<HashMap<SocketAddr, Arc<Host>>>, mut destination: SocketAddr) -> Arc<Host> {
        if let Discovery::OriginalDst { port: Some(port) } = self.model.discovery {
            destination.set_port(port);
        }
        if let Some(host) = map.load().get(&destination) {
            return Arc::clone(host);
        }
        let fresh = Arc::new(Host::bare(destination));
        map.rcu(|hosts| with_host(hosts, &fresh));
        map.load().get(&destination).map_or(fresh, Arc::clone)
    }
}

/// Localities that a retry leaves out: after every second attempt all those used so far. Once that would leave nothing, all
/// are back and the count begins anew (Envoy's `previous_priorities` with an update frequency of 2).
fn left_out<'a>(localities: &'a [String], set: &HostSet) -> Vec<&'a str> {
    let mut used: Vec<&str> = Vec::new();
    for pair in localities.chunks_exact(2) {
        used.extend(pair.iter().map(String::as_str));
        if set.hosts().iter().all(|host| used.contains(&host.endpoint.locality.as_str())) {
            used.clear();
        }
    }
    used
}

/// A copy with one more host; when full, hosts in use alone are kept.
fn with_host(hosts: &HashMap<SocketAddr, Arc<Host>>, fresh: &Arc<Host>) -> HashMap<SocketAddr, Arc<Host>> {
    let in_use = |host: &Host| host.state.active.load(Ordering::Relaxed) > 0 || host.state.connections.load(Ordering::Relaxed) > 0;
    let full = hosts.len() >= DYNAMIC_HOSTS;
    let kept = hosts.iter().filter(|(_, host)| !full || in_use(host)).map(|(address, host)| (*address, Arc::clone(host)));
    let mut next: HashMap<_, _> = kept.collect();
    next.entry(fresh.address()).or_insert_with(|| Arc::clone(fresh));
    next
}

impl Hosts {
    fn build(cluster: &Cluster, previous: Option<&ClusterState>) -> Hosts {
        match (&cluster.discovery, previous.map(|state| &state.hosts)) {
            (Discovery::BlackHole, _) => Hosts::Nothing,
            (Discovery::OriginalDst { .. } | Discovery::Inbound, Some(Hosts::Dynamic(map))) => Hosts::Dynamic(Arc::clone(map)),
            (Discovery::OriginalDst { .. } | Discovery::Inbound, _) => Hosts::Dynamic(Arc::default()),
            (Discovery::StrictDns(_), Some(Hosts::Resolved(set))) => Hosts::Resolved(Arc::clone(set)),
            (Discovery::StrictDns(_), _) => Hosts::Resolved(Arc::new(ArcSwap::from_pointee(HostSet::default()))),
            (Discovery::Endpoints, Some(Hosts::Fixed(set))) => Hosts::Fixed(set.updated(&cluster.endpoints)),
            (Discovery::Endpoints, _) => Hosts::Fixed(HostSet::default().updated(&cluster.endpoints)),
        }
    }
}

/// Marks the hosts that are not among `kept`.
pub(super) fn retire(hosts: &[Arc<Host>], kept: &[Arc<Host>]) {
    let stays: HashMap<SocketAddr, &Arc<HostState>> = kept.iter().map(|host| (host.address(), &host.state)).collect();
    for host in hosts.iter().filter(|host| !stays.contains_key(&host.address())) {
        host.state.removed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
