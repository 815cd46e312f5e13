//! `/listeners`, and listeners as the dump shows them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use outrigger_config::model::{GatewayListenerKind, GatewayTlsAction, InboundChain, Listener, MtlsMode};
use serde_json::{Value, json};

use super::envoy_json;
use crate::bootstrap::Ports;
use crate::runtime::Process;
use crate::snapshot::Config;

/// One listener of the dump.
#[derive(Debug)]
pub struct Shown {
    /// Istio's name.
    pub name: String,
    /// Address it is bound to, or stands for behind a capture port.
    pub address: SocketAddr,
    /// `INBOUND`, `OUTBOUND` or unspecified.
    direction: &'static str,
    /// Whether the socket exists, or connections arrive through `virtualOutbound`.
    bound: bool,
    /// Filter chains in Envoy's JSON.
    chains: Vec<Value>,
}

impl Shown {
    /// `envoy.config.listener.v3.Listener`.
    pub fn to_json(&self) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": self.name,
            "address": envoy_json::address(self.address),
            "traffic_direction": self.direction,
            "bind_to_port": self.bound,
            "filter_chains": self.chains,
        })
    }
}

/// `GET /listeners`.
pub async fn listeners(State(process): State<Arc<Process>>, RawQuery(query): RawQuery) -> Response {
    let config = process.config.load_full();
    let all = all(&config, &process.settings.ports);
    if query.is_some_and(|query| query.contains("format=json")) {
        let statuses = all.iter().map(|listener| json!({ "name": listener.name, "local_address": envoy_json::address(listener.address) }));
        return Json(json!({ "listener_statuses": statuses.collect::<Vec<_>>() })).into_response();
    }
    all.iter().map(|listener| format!("{}::{}\n", listener.name, listener.address)).collect::<String>().into_response()
}

/// All listeners of a configuration: the capture ports with what stands behind them, or the gateway's ports.
pub fn all(config: &Config, ports: &Ports) -> Vec<Shown> {
    let mut all = Vec::new();
    if let Some(inbound) = &config.model.inbound {
        let chains = inbound.by_port.values().chain([&inbound.default]).map(|chain| inbound_chain(config, chain)).collect();
        all.push(capture("virtualInbound", ports.inbound, "INBOUND", chains));
        all.push(capture("virtualOutbound", ports.outbound, "OUTBOUND", vec![unknown(config)]));
    }
    let outbound = &config.model.outbound;
    all.extend(outbound.by_port.iter().map(|(port, listener)| service(SocketAddr::new(any(), *port), listener)));
    all.extend(outbound.by_address.iter().map(|(address, listener)| service(*address, listener)));
    all.extend(outbound.by_network.iter().map(|(net, port, listener)| service(SocketAddr::new(net.addr(), *port), listener)));
    all.extend(config.model.gateways.iter().map(|gateway| Shown {
        name: gateway.name.clone(),
        address: SocketAddr::new(gateway.bind.unwrap_or(any()), gateway.port),
        direction: "OUTBOUND",
        bound: true,
        chains: gateway_chains(&gateway.kind),
    }));
    all
}

fn any() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

fn capture(name: &str, port: u16, direction: &'static str, chains: Vec<Value>) -> Shown {
    Shown { name: name.to_owned(), address: SocketAddr::new(any(), port), direction, bound: true, chains }
}

fn unknown(config: &Config) -> Value {
    let name = config.model.cluster(config.model.outbound.unknown).map_or("BlackHoleCluster", |cluster| cluster.name.as_str());
    json!({ "name": "virtualOutbound-catchall-tcp", "filters": [to_cluster(name)] })
}

fn to_cluster(name: &str) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": name,
        },
    })
}

fn inbound_chain(config: &Config, chain: &InboundChain) -> Value {
    let cluster = config.model.cluster(chain.cluster).map_or("", |cluster| cluster.name.as_str());
    let mode = mtls_name(chain.mtls);
    let (name, matches) = match chain.port {
        0 => (format!("virtualInbound-catchall_{mode}"), json!({})),
        port => (format!("0.0.0.0_{port}_{mode}"), json!({ "destination_port": port })),
    };
    json!({
        "name": name,
        "filter_chain_match": matches,
        "filters": [envoy_json::connection_manager(&chain.http.name), to_cluster(cluster)],
        "metadata": { "filter_metadata": { "outrigger": { "protocol": envoy_json::own(&chain.protocol), "mtls": envoy_json::own(&chain.mtls) } } },
    })
}

fn mtls_name(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Permissive => "permissive",
        MtlsMode::Strict => "strict",
        MtlsMode::Disable => "plaintext",
    }
}

fn service(address: SocketAddr, listener: &Listener) -> Shown {
    let http = listener.http.iter().map(|table| json!({ "filters": [envoy_json::connection_manager(&table.name)] }));
    let tls = listener.tls.iter().map(|route| {
        json!({
            "filter_chain_match": { "server_names": route.sni_hosts },
            "filters": [envoy_json::tcp_proxy(&route.route)],
        })
    });
    let tcp = listener.tcp.iter().map(|route| json!({ "filters": [envoy_json::tcp_proxy(route)] }));
    Shown { name: listener.name.clone(), address, direction: "OUTBOUND", bound: false, chains: http.chain(tls).chain(tcp).collect() }
}

fn gateway_chains(kind: &GatewayListenerKind) -> Vec<Value> {
    match kind {
        GatewayListenerKind::Http(table) => vec![json!({ "filters": [envoy_json::connection_manager(&table.name)] })],
        GatewayListenerKind::Tcp(route) => route.iter().map(|route| json!({ "filters": [envoy_json::tcp_proxy(route)] })).collect(),
        GatewayListenerKind::Tls(chains) => chains
            .iter()
            .map(|chain| {
                let filters: Vec<Value> = match &chain.action {
                    GatewayTlsAction::Http { routes, .. } => vec![envoy_json::connection_manager(&routes.name)],
                    GatewayTlsAction::Tcp { route, .. } => route.iter().map(envoy_json::tcp_proxy).collect(),
                    GatewayTlsAction::Passthrough(routes) => routes.iter().map(|route| envoy_json::tcp_proxy(&route.route)).collect(),
                };
                json!({ "filter_chain_match": { "server_names": chain.sni_hosts }, "filters": filters })
            })
            .collect(),
    }
}
