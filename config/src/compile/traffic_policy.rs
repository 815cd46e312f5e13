//! The policy in force for one (service, port, subset).
//!
//! Source: Istio semantics 2.4. A port-level entry replaces balancing, pool and TLS together: what it leaves out falls to
//! the built-in default, not to the level above.

use std::time::Duration;

use super::destination_rule::MergedRule;
use crate::api::destination_rule::{
    ClientTlsSettings, ConnectionPoolSettings, H2UpgradePolicy, LoadBalancerSettings, PortTrafficPolicy, SimpleLb,
    TcpKeepalive as ApiKeepalive, TrafficPolicy,
};
use crate::model::{ConnectionPool, LbPolicy, TcpKeepalive};

/// The blocks in force; `None` = default.
#[derive(Clone, Copy, Default)]
pub(super) struct EffectivePolicy<'r> {
    /// Balancing.
    pub(super) load_balancer: Option<&'r LoadBalancerSettings>,
    /// Limits.
    pub(super) connection_pool: Option<&'r ConnectionPoolSettings>,
    /// Client TLS; absent leaves the choice to auto mTLS.
    pub(super) tls: Option<&'r ClientTlsSettings>,
}

impl<'r> EffectivePolicy<'r> {
    /// Applies top level, port level, subset and the subset's port level, in this order. `subset` may be empty. The
    /// mesh's default fills in a connection pool that nobody set.
    pub(super) fn new(rule: Option<&MergedRule<'r>>, port: u16, subset: &str, mesh: Option<&'r TrafficPolicy>) -> Self {
        let top = EffectivePolicy::default().overlay(rule.and_then(|rule| rule.policy), port);
        let subset = rule.and_then(|rule| rule.subset(subset)).and_then(|subset| subset.traffic_policy.as_deref());
        let mut policy = top.overlay(subset, port);
        policy.connection_pool = policy.connection_pool.or(mesh.and_then(|mesh| mesh.connection_pool.as_ref()));
        policy
    }

    fn overlay(self, policy: Option<&'r TrafficPolicy>, port: u16) -> Self {
        let Some(policy) = policy else { return self };
        let at_port = |entry: &&PortTrafficPolicy| entry.port.as_ref().is_some_and(|selector| selector.number == u32::from(port));
        match policy.port_level_settings.iter().find(at_port) {
            Some(entry) => EffectivePolicy {
                load_balancer: entry.load_balancer.as_ref(),
                connection_pool: entry.connection_pool.as_ref(),
                tls: entry.tls.as_ref(),
            },
            None => EffectivePolicy {
                load_balancer: policy.load_balancer.as_ref().or(self.load_balancer),
                connection_pool: policy.connection_pool.as_ref().or(self.connection_pool),
                tls: policy.tls.as_ref().or(self.tls),
            },
        }
    }

    /// The algorithm. Everything that is not told otherwise balances by least request.
    pub(super) fn lb_policy(&self) -> LbPolicy {
        match self.load_balancer.and_then(|settings| settings.simple) {
            Some(SimpleLb::RoundRobin) => LbPolicy::RoundRobin,
            Some(SimpleLb::Random) => LbPolicy::Random,
            Some(SimpleLb::Passthrough) => LbPolicy::Passthrough,
            Some(SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest) | None => LbPolicy::LeastRequest,
        }
    }

    /// Time allowed for connecting.
    pub(super) fn connect_timeout(&self, mesh: Duration) -> Duration {
        let own = self.connection_pool.and_then(|pool| pool.tcp.as_ref()).and_then(|tcp| tcp.connect_timeout);
        own.filter(|timeout| !timeout.is_zero()).unwrap_or(mesh)
    }

    /// Limits and lifetimes; 0 means the default wherever Istio says so.
    pub(super) fn pool(&self, mesh_keepalive: Option<&ApiKeepalive>) -> ConnectionPool {
        let default = ConnectionPool::default();
        let limit = |value: i32, default: u32| u32::try_from(value).ok().filter(|value| *value > 0).unwrap_or(default);
        let tcp = self.connection_pool.and_then(|pool| pool.tcp.as_ref());
        let http = self.connection_pool.and_then(|pool| pool.http.as_ref());
        let idle = http.and_then(|http| http.idle_timeout).or(tcp.and_then(|tcp| tcp.idle_timeout));
        let keepalive = tcp.and_then(|tcp| tcp.tcp_keepalive.as_ref()).or(mesh_keepalive);
        ConnectionPool {
            max_connections: tcp.map_or(default.max_connections, |tcp| limit(tcp.max_connections, u32::MAX)),
            max_pending_requests: http.map_or(u32::MAX, |http| limit(http.http1_max_pending_requests, u32::MAX)),
            max_requests: http.map_or(u32::MAX, |http| limit(http.http2_max_requests, u32::MAX)),
            max_retries: http.map_or(u32::MAX, |http| limit(http.max_retries, u32::MAX)),
            max_requests_per_connection: http.map_or(0, |http| limit(http.max_requests_per_connection, 0)),
            max_concurrent_streams: http
                .map_or(default.max_concurrent_streams, |http| limit(http.max_concurrent_streams, default.max_concurrent_streams)),
            idle_timeout: idle.map_or(default.idle_timeout, |idle| (!idle.is_zero()).then_some(idle)),
            tcp_keepalive: keepalive.map(convert_keepalive),
            max_connection_duration: tcp.and_then(|tcp| tcp.max_connection_duration).filter(|limit| !limit.is_zero()),
        }
    }

    /// `h2UpgradePolicy`, when the rule decides it.
    pub(super) fn h2_upgrade(&self) -> Option<bool> {
        match self.connection_pool.and_then(|pool| pool.http.as_ref()).map(|http| http.h2_upgrade_policy) {
            Some(H2UpgradePolicy::Upgrade) => Some(true),
            Some(H2UpgradePolicy::DoNotUpgrade) => Some(false),
            Some(H2UpgradePolicy::Default) | None => None,
        }
    }

    /// `useClientProtocol`.
    pub(super) fn use_client_protocol(&self) -> bool {
        self.connection_pool.and_then(|pool| pool.http.as_ref()).is_some_and(|http| http.use_client_protocol)
    }
}

fn convert_keepalive(keepalive: &ApiKeepalive) -> TcpKeepalive {
    TcpKeepalive { probes: Some(keepalive.probes).filter(|probes| *probes > 0), time: keepalive.time, interval: keepalive.interval }
}
