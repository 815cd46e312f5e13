//! One table per rule of sidecar contract 7.2.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::listener::DownstreamTls;
use crate::testing::downstream;

fn local() -> Node {
    let labels = [("app", "web"), ("version", "v2"), ("service.istio.io/canonical-name", "web-canonical")];
    Node {
        name: "web-1".into(),
        namespace: "shop".into(),
        service_account: "web".into(),
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        workload_name: "web".into(),
        ..Node::default()
    }
}

fn service() -> ServiceRef {
    ServiceRef { host: "db.data.svc.cluster.local".into(), name: "db".into(), namespace: "data".into() }
}

fn peer() -> Arc<Workload> {
    Arc::new(Workload {
        name: "db-primary".into(),
        namespace: "told".into(),
        service_account: "db".into(),
        canonical_name: "db".into(),
        canonical_revision: String::new(),
        app: String::new(),
        version: "v9".into(),
        cluster_id: "Kubernetes".into(),
    })
}

fn upstream(cluster: &str) -> UpstreamFacts {
    UpstreamFacts::of_cluster(cluster.into(), None)
}

fn of(downstream: &Downstream, upstream: Option<&UpstreamFacts>, authority: &str, route_name: &str) -> BTreeMap<String, String> {
    let labels = labels(&local(), &Subject { downstream, upstream, authority, route_name, protocol: "http" });
    let text = format!("{},{}", labels.head, labels.tail);
    let pairs = text.trim_end_matches('"').split("\",");
    pairs.filter_map(|pair| pair.split_once("=\"")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn assert_labels(actual: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(actual.get(*name).map(String::as_str), Some(*value), "{name} in {actual:#?}");
    }
}

#[test]
fn every_label_of_the_contract_is_present_even_without_a_value() {
    let all = of(&downstream(Direction::Outbound), None, "", "");
    assert_eq!(all.len(), 22, "{all:#?}");
    assert_eq!(of(&downstream(Direction::Inbound), None, "", "").len(), 22);
}

#[test]
fn the_source_reports_itself_and_what_the_server_told() {
    let mut up = upstream("outbound|3306||db.data.svc.cluster.local");
    up.service = Some(Arc::new(service()));
    up.workload = Some(peer());
    up.peer_identity = Some("spiffe://cluster.local/ns/proven/sa/db".into());
    up.local_identity = Some("spiffe://cluster.local/ns/shop/sa/web".into());
    assert_labels(
        &of(&downstream(Direction::Outbound), Some(&up), "db", "default"),
        &[
            ("reporter", "source"),
            ("source_workload", "web"),
            ("source_canonical_service", "web-canonical"),
            ("source_canonical_revision", "v2"),
            ("source_workload_namespace", "shop"),
            ("source_principal", "spiffe://cluster.local/ns/shop/sa/web"),
            ("source_app", "web"),
            ("source_version", "v2"),
            ("source_cluster", "Kubernetes"),
            ("destination_workload", "db-primary"),
            ("destination_workload_namespace", "proven"),
            ("destination_principal", "spiffe://cluster.local/ns/proven/sa/db"),
            ("destination_app", "unknown"),
            ("destination_version", "v9"),
            ("destination_canonical_revision", "latest"),
            ("destination_service", "db.data.svc.cluster.local"),
            ("destination_service_name", "db"),
            ("destination_service_namespace", "data"),
            ("request_protocol", "http"),
            ("connection_security_policy", "unknown"),
        ],
    );
}

#[test]
fn the_destination_trusts_the_certificate_before_the_metadata() {
    let mut down = downstream(Direction::Inbound);
    down.service = Some(service());
    let _ = down.peer_workload.set(peer());
    down.tls = Some(DownstreamTls {
        peer_identity: Some("spiffe://cluster.local/ns/client/sa/caller".into()),
        local_identity: Some("spiffe://cluster.local/ns/shop/sa/web".into()),
        peer_dns_names: vec![],
        peer_subject: String::new(),
        peer_certificate_hash: String::new(),
        version: "TLSv1.3",
        alpn: None,
    });
    assert_labels(
        &of(&down, Some(&upstream("inbound|8080||")), "ignored", "default"),
        &[
            ("reporter", "destination"),
            ("source_workload", "db-primary"),
            ("source_workload_namespace", "client"),
            ("source_principal", "spiffe://cluster.local/ns/client/sa/caller"),
            ("destination_workload", "web"),
            ("destination_principal", "spiffe://cluster.local/ns/shop/sa/web"),
            ("destination_service", "db.data.svc.cluster.local"),
            ("destination_service_namespace", "shop"),
            ("connection_security_policy", "mutual_tls"),
        ],
    );
}

#[test]
fn a_plaintext_stranger_is_unknown_to_the_destination() {
    assert_labels(
        &of(&downstream(Direction::Inbound), Some(&upstream("InboundPassthroughCluster")), "", ""),
        &[
            ("source_workload", "unknown"),
            ("source_workload_namespace", "unknown"),
            ("source_principal", "unknown"),
            ("source_canonical_revision", "latest"),
            ("destination_principal", "unknown"),
            ("destination_service", "web-canonical"),
            ("destination_service_name", "InboundPassthroughCluster"),
            ("connection_security_policy", "none"),
        ],
    );
}

#[test]
fn special_destinations_keep_their_names() {
    let outbound = downstream(Direction::Outbound);
    for (cluster, route, host, name) in [
        ("PassthroughCluster", "allow_any", "example.org", "PassthroughCluster"),
        ("BlackHoleCluster", "block_all", "example.org", "BlackHoleCluster"),
        ("PassthroughCluster", "", "", "PassthroughCluster"),
    ] {
        let expected_host = if host.is_empty() { "unknown" } else { host };
        assert_labels(
            &of(&outbound, Some(&upstream(cluster)), host, route),
            &[("destination_service", expected_host), ("destination_service_name", name)],
        );
    }
}

#[test]
fn the_host_header_counts_for_sidecars_and_never_for_gateways() {
    let unmatched = of(&downstream(Direction::Outbound), None, "example.org:8080", "");
    assert_labels(&unmatched, &[("destination_service", "example.org:8080"), ("destination_service_name", "example.org:8080")]);
    let gateway = of(&downstream(Direction::Gateway), None, "made-up.example", "");
    assert_labels(&gateway, &[("reporter", "source"), ("destination_service", "unknown"), ("destination_service_name", "unknown")]);
}

#[test]
fn a_service_without_a_short_name_gives_the_first_label_of_its_host() {
    let mut up = upstream("outbound|443||api.example.org");
    up.service = Some(Arc::new(ServiceRef { host: "api.example.org".into(), name: String::new(), namespace: String::new() }));
    assert_labels(
        &of(&downstream(Direction::Outbound), Some(&up), "", ""),
        &[("destination_service_name", "api"), ("destination_service_namespace", "unknown")],
    );
}
