//! Envoy itself as the other end of mutual TLS, configured as an Istio sidecar configures it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::Plan;
use outrigger_testbed::ca::Identity;
use tokio::process::{Child, Command};

use crate::bed::{Bed, PATIENCE, Turn, bounded, until};
use crate::manifest::{self, App};

const REQUESTS: u64 = 20;
/// Where Envoy ends mutual TLS before the application of its pod.
const INBOUND: u16 = 9443;
/// Where that application reaches the mesh through Envoy.
const OUTBOUND: u16 = 9000;

#[test]
fn envoy_and_the_sidecar_accept_each_other_as_client_and_as_server() {
    bounded(Turn::Shared, 90, async {
        // Labelled as injected, but it is the test that puts a proxy there.
        let envoy = App::new("shop", "envoy")
            .label("sidecar.istio.io/inject", "false")
            .label("security.istio.io/tlsMode", "istio")
            .env("STAND_IN_PORTS", "8080");
        let pods = App::new("shop", "client").yaml() + &App::new("shop", "server").yaml() + &envoy.yaml();
        let to_envoy = manifest::service("shop", "envoy", "envoy", "{name: http, port: 80, targetPort: 9443}", "");
        let text = manifest::meshed("shop") + &pods + &to_envoy + &manifest::http_service("shop", "server");
        let strict = manifest::peer_authentication("shop", "STRICT");
        let bed = Bed::start("envoy", &[("all.yaml", text), ("strict.yaml", strict)]).await?;
        let _envoy = start(&bed).await?;

        let seen = asked(&bed, "client", "http://envoy/headers").await.context("Envoy as server")?;
        ensure!(seen.contains("URI=spiffe://cluster.local/ns/shop/sa/client"), "Envoy saw another client: {seen}");
        let seen = asked(&bed, "envoy", &format!("http://127.0.0.1:{OUTBOUND}/headers")).await.context("Envoy as client")?;
        ensure!(seen.contains("URI=spiffe://cluster.local/ns/shop/sa/envoy"), "the sidecar saw another client: {seen}");
        bed.end().await
    });
}

/// Sends requests and returns what the application saw of the first.
async fn asked(bed: &Bed, pod: &str, url: &str) -> Result<String> {
    let mut plan = Plan::new(url, REQUESTS);
    (plan.concurrency, plan.keep_bodies) = (4, true);
    let report = bed.load_well(pod, &plan).await?;
    Ok(format!("{:?}", report.answers.first().context("no answer")?))
}

/// Starts Envoy in its pod with a certificate of the run and waits until it listens.
async fn start(bed: &Bed) -> Result<Child> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/envoy/envoy/_bin/envoy");
    ensure!(program.exists(), "no {}: `scripts/deps test`, which `make test` runs, puts Envoy there", program.display());
    let (trust_domain, namespace, service_account) = ("cluster.local".to_owned(), "shop".to_owned(), "envoy".to_owned());
    bed.testbed.issue("envoy", Identity { trust_domain, namespace, service_account }, time::Duration::hours(1)).await?;
    let pod = bed.testbed.pod("envoy")?;
    let config = config(&pod.folder.join("certs"), bed.address("server")?);
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &pod.netns]).arg(program).args([
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
    ]);
    command.arg("--config-yaml").arg(config).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let target = SocketAddr::from(([127, 0, 0, 1], OUTBOUND));
    until("Envoy listens", PATIENCE, || {
        let ended = child.try_wait();
        async move {
            ensure!(ended?.is_none(), "Envoy has ended");
            Ok(bed.testbed.connect("envoy", target).await.is_ok())
        }
    })
    .await?;
    Ok(child)
}

const TYPE: &str = "type.googleapis.com/envoy.extensions";

fn config(certificates: &Path, server: IpAddr) -> String {
    let inbound_tls = tls(certificates, "[istio-peer-exchange, h2, http/1.1]", "{prefix: 'spiffe://cluster.local/'}");
    let outbound_tls = tls(certificates, "[istio-http/1.1, istio, http/1.1]", "{exact: 'spiffe://cluster.local/ns/shop/sa/server'}");
    let (inbound, outbound) = (manager("application"), manager("server"));
    let (application, server) = (cluster("application", "127.0.0.1".parse().ok()), cluster("server", Some(server)));
    format!(
        "static_resources:
  listeners:
  - name: inbound
    address: {{socket_address: {{address: 0.0.0.0, port_value: {INBOUND}}}}}
    listener_filters: [{{name: tls, typed_config: {{'@type': {TYPE}.filters.listener.tls_inspector.v3.TlsInspector}}}}]
    filter_chains:
    - filter_chain_match:
        transport_protocol: tls
        server_names: [outbound_.80_._.envoy.shop.svc.cluster.local]
        application_protocols: [istio-http/1.0, istio-http/1.1, istio-h2]
      transport_socket:
        name: tls
        typed_config:
          '@type': {TYPE}.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context: {inbound_tls}
      filters: [{inbound}]
  - name: outbound
    address: {{socket_address: {{address: 127.0.0.1, port_value: {OUTBOUND}}}}}
    filter_chains: [{{filters: [{outbound}]}}]
  clusters:
  - {application}
  - {server}
    transport_socket:
      name: tls
      typed_config:
        '@type': {TYPE}.transport_sockets.tls.v3.UpstreamTlsContext
        sni: outbound_.80_._.server.shop.svc.cluster.local
        common_tls_context: {outbound_tls}
"
    )
}

fn tls(folder: &Path, alpn: &str, peer: &str) -> String {
    let file = |name: &str| -> String { PathBuf::from(folder).join(name).display().to_string() };
    let (chain, key, root) = (file("cert-chain.pem"), file("key.pem"), file("root-cert.pem"));
    format!(
        "{{alpn_protocols: {alpn}, \
          tls_certificates: [{{certificate_chain: {{filename: '{chain}'}}, private_key: {{filename: '{key}'}}}}], \
          validation_context: {{trusted_ca: {{filename: '{root}'}}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {peer}}}]}}}}"
    )
}

/// A connection manager that sends everything to one cluster and tells the application who called.
fn manager(cluster: &str) -> String {
    format!(
        "{{name: http, typed_config: {{'@type': {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager, \
          stat_prefix: {cluster}, forward_client_cert_details: SANITIZE_SET, set_current_client_cert_details: {{uri: true}}, \
          http_filters: [{{name: router, typed_config: {{'@type': {TYPE}.filters.http.router.v3.Router}}}}], \
          route_config: {{virtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: {cluster}}}}}]}}]}}}}}}"
    )
}

/// A cluster of one endpoint, as the beginning of a block mapping.
fn cluster(name: &str, address: Option<IpAddr>) -> String {
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    format!(
        "name: {name}
    connect_timeout: 5s
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {address}, port_value: 8080}}}}}}}}]}}]"
    )
}
