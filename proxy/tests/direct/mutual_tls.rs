//! Mesh mTLS at an inbound port, between real identities.

use std::sync::Arc;
use std::time::Duration;

use outrigger_config::model::{Discovery, ListenerProtocol, MtlsMode, Snapshot};
use outrigger_proxy::identity::{MeshAlpn, MeshTarget, client};
use outrigger_proxy::listener::EntranceKind::Inbound;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::*;
use crate::mesh::Mesh;

/// A ClientHello with this name and no ALPN, as an application's own TLS would send it.
pub fn client_hello(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name).expect("name")).expect("client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("hello");
    bytes
}

fn inbound(mode: MtlsMode, protocol: ListenerProtocol) -> Snapshot {
    let clusters = vec![cluster("BlackHoleCluster", Discovery::BlackHole, &[]), cluster("inbound|0||", Discovery::Inbound, &[])];
    sidecar(clusters, Vec::new(), (mode, protocol))
}

const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";

#[tokio::test]
async fn bytes_cross_mutual_tls_with_half_close() {
    let mesh = Mesh::new();
    let (server_identity, client_identity) = (mesh.identity("frontend"), mesh.identity("client"));
    for (mode, protocol) in [(MtlsMode::Strict, ListenerProtocol::Tcp), (MtlsMode::Permissive, ListenerProtocol::Auto)] {
        let origin = Origin::start().await;
        let proxy = Proxy::new(inbound(mode, protocol), Arc::clone(&server_identity));
        let tcp = proxy.capture(Inbound, origin.address()).await;
        let target = MeshTarget { sni: "outbound_.5432_._.db", expected: &[FRONTEND], alpn: MeshAlpn::Tcp };
        let (mut session, info) = soon(client::connect(&client_identity, tcp, target)).await.expect("handshake");
        assert_eq!(info.identity.as_deref(), Some(FRONTEND));
        session.write_all(b"question").await.expect("write");
        session.shutdown().await.expect("shutdown");
        let (mut server, _) = origin.accept().await;
        assert_eq!(rest(&mut server).await, b"question");
        server.write_all(b"answer").await.expect("write");
        drop(server);
        assert_eq!(rest(&mut session).await, b"answer");
        let labels = ["connection_security_policy=\"mutual_tls\"", "source_principal=\"spiffe://cluster.local/ns/shop/sa/client\""];
        proxy.metric("istio_tcp_connections_opened_total", &labels).await;
    }
}

#[tokio::test]
async fn an_application_that_speaks_first_does_not_answer_a_slow_client_hello_in_plaintext() {
    let mesh = Mesh::new();
    let (server_identity, client_identity) = (mesh.identity("frontend"), mesh.identity("client"));
    for protocol in [ListenerProtocol::Tcp, ListenerProtocol::Auto] {
        let origin = Origin::start().await;
        let proxy = Proxy::new(inbound(MtlsMode::Permissive, protocol), Arc::clone(&server_identity));
        let tcp = proxy.capture(Inbound, origin.address()).await;
        let greeting = async { origin.accept().await.0.write_all(b"220 ready").await };
        let slow = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let target = MeshTarget { sni: "outbound_.3306_._.db", expected: &[FRONTEND], alpn: MeshAlpn::Tcp };
            soon(client::connect(&client_identity, tcp, target)).await.expect("handshake").0
        };
        let (mut session, greeted) = tokio::join!(slow, greeting);
        greeted.expect("write");
        expect(&mut session, "220 ready").await;
    }
}

#[tokio::test]
async fn a_client_of_another_mesh_never_reaches_the_application() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let origin = Origin::start().await;
    let proxy = Proxy::new(inbound(MtlsMode::Strict, ListenerProtocol::Tcp), mesh.identity("frontend"));
    let tcp = proxy.capture(Inbound, origin.address()).await;
    let target = MeshTarget { sni: "outbound_.5432_._.db", expected: &[FRONTEND], alpn: MeshAlpn::Tcp };
    soon(client::connect(&other.identity("frontend"), tcp, target)).await.expect_err("another root");
    assert!(origin.stays_alone().await);
}

#[tokio::test]
async fn ordinary_tls_to_a_permissive_port_is_the_applications_own() {
    let mesh = Mesh::new();
    for protocol in [ListenerProtocol::Http, ListenerProtocol::Auto, ListenerProtocol::Tcp] {
        let origin = Origin::start().await;
        let identity = mesh.identity(&format!("frontend-{protocol:?}").to_lowercase());
        let proxy = Proxy::new(inbound(MtlsMode::Permissive, protocol), identity);
        let hello = client_hello("app.example");
        let mut tcp = proxy.capture(Inbound, origin.address()).await;
        tcp.write_all(&hello).await.expect("write");
        let (mut server, _) = origin.accept().await;
        let mut received = vec![0; hello.len()];
        soon(server.read_exact(&mut received)).await.expect("bytes");
        assert_eq!(received, hello, "{protocol:?}");
    }
}
