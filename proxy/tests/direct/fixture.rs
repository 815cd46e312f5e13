//! A worker with a hand-written model, and peers that do what a test tells them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use outrigger_config::matcher::HostMap;
use outrigger_config::model::*;
use outrigger_proxy::drain::{Drain, Drainer};
use outrigger_proxy::identity::Identity;
use outrigger_proxy::listener::connection::{Captured, serve_captured};
use outrigger_proxy::listener::{ConnectionGuard, EntranceKind, Residents, Socket};
use outrigger_proxy::runtime::Worker;
use outrigger_proxy::snapshot::{Config, ConfigHandle};
use outrigger_proxy::telemetry::Telemetry;
use outrigger_proxy::telemetry::access_log::LogWriter;
use outrigger_proxy::telemetry::encode::Exposition;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// No step of a test takes longer.
pub const SOON: Duration = Duration::from_secs(5);
/// Long enough to see that something does not happen.
pub const A_WHILE: Duration = Duration::from_millis(400);

/// Waits for something that must happen.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("took too long")
}

/// A loopback address no other test uses, so that tests may choose ports freely.
pub fn own_address() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    [127, 100 + (number % 100) as u8, high, low.max(1)].into()
}

/// A cluster of the given kind with nothing special about it.
pub fn cluster(name: &str, discovery: Discovery, endpoints: &[SocketAddr]) -> Cluster {
    let endpoint = |address: &SocketAddr| {
        let (locality, address) = (String::new(), *address);
        Arc::new(Endpoint { address, weight: 1, locality, mtls: false, identity: None, workload: None, pod: None })
    };
    Cluster {
        name: name.to_owned(),
        discovery,
        lb_policy: LbPolicy::RoundRobin,
        endpoints: endpoints.iter().map(endpoint).collect(),
        protocol: UpstreamProtocol::Tcp,
        connect_timeout: Duration::from_secs(2),
        connection_pool: Arc::default(),
        tls: UpstreamTls::Disabled,
        service: None,
        port: 0,
        subset: String::new(),
        external: false,
    }
}

/// A route table without hosts.
pub fn no_routes(name: &str) -> Arc<RouteConfiguration> {
    Arc::new(RouteConfiguration { name: name.to_owned(), hosts: HostMap::default(), virtual_hosts: Vec::new() })
}

/// A route to one cluster.
pub fn to(cluster: u32) -> TcpRoute {
    let destination = TcpDestination { name: format!("cluster {cluster}"), cluster: Some(ClusterId(cluster)), weight: 1 };
    TcpRoute { id: RouteId(0), key: format!("to {cluster}"), clusters: vec![destination] }
}

/// The model of a sidecar: unknown destinations go to cluster 0, everything is inbound to cluster 1.
pub fn sidecar(clusters: Vec<Cluster>, outbound: Vec<(SocketAddr, Listener)>, inbound: (MtlsMode, ListenerProtocol)) -> Snapshot {
    let (mtls, protocol) = inbound;
    let chain = InboundChain { port: 0, protocol, mtls, http: no_routes("inbound|0||"), cluster: ClusterId(1), service: None };
    Snapshot {
        inbound: Some(Inbound { by_port: Default::default(), default: Arc::new(chain) }),
        outbound: Outbound {
            by_address: outbound.into_iter().map(|(address, listener)| (address, Arc::new(listener))).collect(),
            unknown: ClusterId(0),
            ..Outbound::default()
        },
        ..router(clusters, Vec::new())
    }
}

/// The model of a gateway.
pub fn router(clusters: Vec<Cluster>, gateways: Vec<GatewayListener>) -> Snapshot {
    let proxy_type = if gateways.is_empty() { ProxyType::Sidecar } else { ProxyType::Router };
    Snapshot {
        node: Arc::new(node(proxy_type)),
        mesh: MeshSettings {
            concurrency: None,
            trust_domains: vec!["cluster.local".to_owned()],
            protocol_detection_timeout: Duration::from_millis(100),
            access_log: None,
            path_normalization: PathNormalization::Base,
            accept_http10: true,
            drain_duration: Duration::from_secs(45),
            termination_drain_duration: Duration::from_secs(5),
        },
        outbound: Outbound::default(),
        inbound: None,
        gateways,
        clusters: clusters.into_iter().map(Arc::new).collect(),
        route_count: 1,
    }
}

fn node(proxy_type: ProxyType) -> Node {
    Node {
        proxy_type,
        name: "pod".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "frontend".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        ip_addresses: Vec::new(),
        labels: Default::default(),
        annotations: Default::default(),
        workload_name: "frontend".to_owned(),
        owner: String::new(),
        cluster_id: "Kubernetes".to_owned(),
        mesh_id: "cluster.local".to_owned(),
    }
}

/// A proxy of one worker.
pub struct Proxy {
    pub worker: Arc<Worker>,
    pub phase: Drainer,
    telemetry: Telemetry,
}

impl Proxy {
    pub fn new(model: Snapshot, identity: Arc<Identity>) -> Proxy {
        let (phase, drain) = Drain::channel();
        let (telemetry, mut workers) = Telemetry::new(Arc::clone(&model.node), 1, &LogWriter::new(), None);
        let config = ConfigHandle::new(Config::build(model, None));
        let worker = Worker {
            id: 0,
            identity,
            pool: Default::default(),
            pipes: Default::default(),
            telemetry: workers.pop().expect("one worker"),
            residents: Residents::new(&drain, config.shut_doors()),
            drain,
            routings: config.routings(),
            config,
            connections: AtomicUsize::new(0),
            no_name: "".into(),
            handshakes: Default::default(),
        };
        Proxy { worker: Arc::new(worker), phase, telemetry }
    }

    /// A proxy that speaks no TLS of its own.
    pub fn plain(model: Snapshot) -> Proxy {
        Proxy::new(model, Arc::new(Identity::new(None, &["cluster.local".to_owned()])))
    }

    /// The line of a metric with these labels, once there is one.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> String {
        let line = || {
            let mut out = Exposition::default();
            self.telemetry.write_istio(&mut out);
            let text = out.finish();
            let wanted = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
            text.lines().find(wanted).map(str::to_owned)
        };
        soon(async {
            loop {
                match line() {
                    Some(line) => break line,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await
    }

    /// A client's connection, captured on its way to `destination`.
    pub async fn capture(&self, kind: EntranceKind, destination: SocketAddr) -> TcpStream {
        let entrance = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let client = TcpStream::connect(entrance.local_addr().expect("address")).await.expect("connect");
        let (stream, peer) = entrance.accept().await.expect("accept");
        let captured = Captured { worker: Arc::clone(&self.worker), peer, destination, accepted_at: SystemTime::now(), source: None };
        let guard = ConnectionGuard::new(&self.worker);
        let socket = Socket::fresh(stream.into_std().expect("a socket"));
        tokio::spawn(async move {
            serve_captured(kind, destination.port(), captured, socket).await;
            drop(guard);
        });
        client
    }
}

/// A server under a test's control.
pub struct Origin {
    listener: TcpListener,
}

impl Origin {
    pub async fn start() -> Origin {
        Origin { listener: TcpListener::bind("127.0.0.1:0").await.expect("bind") }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("address")
    }

    /// The next connection.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        soon(self.listener.accept()).await.expect("accept")
    }

    /// Whether nobody connects for a while.
    pub async fn stays_alone(&self) -> bool {
        timeout(A_WHILE, self.listener.accept()).await.is_err()
    }
}

/// Reads exactly this text.
pub async fn expect(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let mut bytes = vec![0; text.len()];
    soon(stream.read_exact(&mut bytes)).await.expect("bytes");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// Reads to the end, which must come; an error counts as the end.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    bytes
}
