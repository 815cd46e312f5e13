//! What a Prometheus server and an operator see after a known number of requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::Plan;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::bed::{Bed, Turn, bounded, until};
use crate::exposition::{Sample, samples};
use crate::manifest::{self, App};

const REQUESTS: u64 = 137;
const REQUESTS_TOTAL: &str = "istio_requests_total";

/// Labels of the series about these calls on the client's side; the server's differ in the three named below.
const LABELS: &str = "reporter=source source_workload=client source_canonical_service=client source_canonical_revision=v7 \
    source_workload_namespace=shop source_principal=spiffe://cluster.local/ns/shop/sa/client source_app=client source_version=v7 \
    source_cluster=Kubernetes destination_workload=server destination_workload_namespace=store \
    destination_principal=spiffe://cluster.local/ns/store/sa/server destination_app=server destination_version=v1 \
    destination_service=server.store.svc.cluster.local destination_canonical_service=server destination_canonical_revision=v1 \
    destination_service_name=server destination_service_namespace=store destination_cluster=Kubernetes request_protocol=http \
    response_code=200 grpc_response_status= response_flags=- connection_security_policy=unknown";

async fn bed(name: &str) -> Result<Bed> {
    let namespaces = manifest::meshed("shop") + &manifest::meshed("store");
    let pods = App::new("shop", "client").of("client", "v7").yaml() + &App::new("store", "server").replicas(2).yaml();
    Bed::start(name, &[("all.yaml", namespaces + &pods + &manifest::http_service("store", "server"))]).await
}

#[test]
fn every_request_is_counted_once_by_each_side_with_all_labels_right() {
    bounded(Turn::Shared, 60, async {
        let bed = bed("metrics").await?;
        let mut plan = Plan::new("http://server.store/some/path", REQUESTS);
        plan.concurrency = 4;
        bed.load_well("client", &plan).await?;
        let servers: Vec<String> = bed.testbed.pods_labelled("app", "server").into_iter().map(|pod| pod.name).collect();
        for port in [15090, 15020] {
            let source = series(&bed, &["client".to_owned()], port).await?;
            ensure!(source == BTreeMap::from([(expected("source", "unknown"), REQUESTS)]), "{port}: {source:#?}");
            let destination = series(&bed, &servers, port).await?;
            ensure!(destination == BTreeMap::from([(expected("destination", "mutual_tls"), REQUESTS)]), "{port}: {destination:#?}");
        }
        durations(&bed).await?;
        bed.end().await
    });
}

fn expected(reporter: &str, security: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = LABELS
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    labels.insert("reporter".to_owned(), reporter.to_owned());
    labels.insert("connection_security_policy".to_owned(), security.to_owned());
    labels
}

/// All series of some pods, equal ones added up. They are scraped as Prometheus does, at the pod's address.
pub async fn series(bed: &Bed, pods: &[String], port: u16) -> Result<BTreeMap<BTreeMap<String, String>, u64>> {
    let mut sums = BTreeMap::new();
    for pod in pods {
        for Sample { labels, value } in samples(&scrape(bed, pod, port).await?, REQUESTS_TOTAL) {
            *sums.entry(labels).or_default() += value as u64;
        }
    }
    Ok(sums)
}

async fn scrape(bed: &Bed, pod: &str, port: u16) -> Result<String> {
    let target = SocketAddr::new(bed.address(pod)?, port);
    let mut plan = Plan::new(format!("http://{target}/stats/prometheus"), 1);
    plan.keep_bodies = true;
    // The report keeps the first 64 KiB only; the whole comes through the testbed's own client.
    let report = outrigger_loadtests::run(plan).await?;
    ensure!(report.status(200) == 1, "{target}: {:?} {:?}", report.statuses, report.error_examples);
    bed.page(pod, port, "/stats/prometheus").await
}

async fn durations(bed: &Bed) -> Result<()> {
    let text = bed.page("client", 15090, "/stats/prometheus").await?;
    let count: f64 = samples(&text, "istio_request_duration_milliseconds_count").iter().map(|sample| sample.value).sum();
    let all = samples(&text, "istio_request_duration_milliseconds_bucket");
    let all: f64 = all.iter().filter(|sample| sample.label("le") == "+Inf").map(|sample| sample.value).sum();
    ensure!((count as u64, all as u64) == (REQUESTS, REQUESTS), "{count} durations, {all} in all buckets");
    Ok(())
}

#[test]
fn a_request_that_gets_no_answer_is_counted_with_the_reason() {
    bounded(Turn::Shared, 60, async {
        let bed = bed("metrics-503").await?;
        bed.testbed.scale("store/server", 0).await?;
        bed.testbed.wait_until(Duration::from_secs(20), |state| !state.pods.iter().any(|pod| pod.namespace == "store")).await?;
        until("503 without endpoints", Duration::from_secs(5), || async {
            Ok(bed.load("client", &Plan::new("http://server.store/", 3)).await?.status(503) == 3)
        })
        .await?;
        let text = bed.page("client", 15090, "/stats/prometheus").await?;
        let refused = |sample: &&Sample| sample.label("response_code") == "503" && sample.label("response_flags") == "UH";
        let refused: f64 = samples(&text, REQUESTS_TOTAL).iter().filter(refused).map(|sample| sample.value).sum();
        ensure!(refused >= 3.0, "{:#?}", samples(&text, REQUESTS_TOTAL));
        bed.end().await
    });
}

#[test]
fn prometheus_own_tool_accepts_the_exposition() {
    bounded(Turn::Shared, 60, async {
        let bed = bed("promtool").await?;
        bed.load_well("client", &Plan::new("http://server.store/", 5)).await?;
        for (pod, port) in [("client", 15090), ("client", 15020), ("server", 15090)] {
            let pod = bed.testbed.pods_labelled("app", pod).first().context("a pod")?.name.clone();
            let complaints = promtool(&bed.page(&pod, port, "/stats/prometheus").await?).await?;
            // Envoy's and Istio's names are older than the conventions, and dashboards know them.
            let about_names = |line: &&str| line.ends_with("\"_total\" suffix") || line.contains("use base unit");
            let other: Vec<&str> = complaints.lines().filter(|line| !about_names(line)).collect();
            ensure!(other.is_empty(), "{pod}:{port}: {other:#?}");
        }
        bed.end().await
    });
}

/// What `promtool check metrics` has to say.
async fn promtool(text: &str) -> Result<String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("promtool (`make test` installs it)")?;
    let mut input = child.stdin.take().context("piped")?;
    input.write_all(text.as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    // 1: not readable at all; 3: readable, with remarks.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn health_and_admin_pages_of_a_sidecar_say_what_it_does() {
    bounded(Turn::Shared, 60, async {
        let bed = bed("pages").await?;
        bed.load_well("client", &Plan::new("http://server.store/", 10)).await?;
        bed.page("client", 15021, "/healthz/ready").await?;
        bed.page("client", 15020, "/healthz/ready").await?;
        let cluster = "outbound|80||server.store.svc.cluster.local";
        let clusters = bed.page("client", 15000, "/clusters").await?;
        for pod in bed.testbed.pods_labelled("app", "server") {
            let line = format!("{cluster}::{}:8080::health_flags::healthy", bed.address(&pod.name)?);
            ensure!(clusters.contains(&line), "no {line} in\n{clusters}");
        }
        let listeners = bed.page("client", 15000, "/listeners").await?;
        ensure!(listeners.contains(":15001") && listeners.contains(":15006"), "{listeners}");
        let stats = bed.page("client", 15000, "/stats?filter=server.store").await?;
        ensure!(stats.contains(cluster) && stats.contains("upstream_rq"), "{stats}");
        let connections = format!("cluster.{cluster}.upstream_cx_total: ");
        let counted = stats.lines().find_map(|line| line.strip_prefix(&connections)?.parse().ok());
        ensure!(counted.is_some_and(|connections: u64| connections > 0), "no connection is counted:\n{stats}");
        let dump: Value = serde_json::from_str(&bed.page("client", 15000, "/config_dump").await?)?;
        let kinds: Vec<&str> =
            dump["configs"].as_array().context("configs")?.iter().filter_map(|config| config["@type"].as_str()).collect();
        for kind in ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "RoutesConfigDump", "SecretsConfigDump"] {
            ensure!(kinds.iter().any(|known| known.ends_with(kind)), "{kind} is not among {kinds:?}");
        }
        let text = dump.to_string();
        ensure!(text.contains(cluster) && !text.contains("PRIVATE KEY"), "the dump lacks {cluster} or shows a key");
        bed.end().await
    });
}
