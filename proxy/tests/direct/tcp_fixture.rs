//! A sidecar that forwards bytes.

use std::net::SocketAddr;

use outrigger_config::model::{Cluster, Discovery, Listener, ListenerProtocol, MtlsMode, Snapshot};

use crate::fixture::*;

/// Where the service lives, as clients dial it.
pub fn vip() -> SocketAddr {
    "10.96.0.9:5432".parse().expect("address")
}

/// A sidecar with one service of opaque bytes at [`vip`].
pub fn opaque(service: Cluster) -> Snapshot {
    let clusters = vec![
        cluster("PassthroughCluster", Discovery::OriginalDst { port: None }, &[]),
        cluster("inbound|0||", Discovery::Inbound, &[]),
        service,
        cluster("BlackHoleCluster", Discovery::BlackHole, &[]),
    ];
    let listener =
        Listener { name: "10.96.0.9_5432".to_owned(), protocol: ListenerProtocol::Tcp, http: None, tls: Vec::new(), tcp: Some(to(2)) };
    sidecar(clusters, vec![(vip(), listener)], (MtlsMode::Disable, ListenerProtocol::Tcp))
}

/// A service with these endpoints.
pub fn service(endpoints: &[SocketAddr]) -> Cluster {
    cluster("outbound|5432||db", Discovery::Endpoints, endpoints)
}
