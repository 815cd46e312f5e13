//! Configuration that changes, breaks and is mended.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use super::caller::{Caller, pod};
use super::fixture::{CONFIG, MESH, NAME, args, bundle, cluster, eventually, injector, page_says, serves, times};
use outrigger_injector::control::{Injector, Times};
use outrigger_injector::settings::Policy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_config_map_leaves_the_last_good_one_and_says_so_until_mended() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;

    server.edit(CONFIG, |map| map["data"]["config"] = json!("policy: [unclosed"));
    let page = page_says(&replica, "configuration: PROBLEM").await;
    assert!(page.contains("istio-sidecar-injector") && page.contains("the last good configuration stays in force"), "{page}");
    assert!(page.starts_with("ready"), "{page}");
    let metrics = replica.state.metrics.render();
    assert!(metrics.contains("outrigger_injector_problem{part=\"configuration\"} 1"), "{metrics}");
    assert!(metrics.contains("outrigger_injector_configuration_failures_total 1"), "{metrics}");
    serves(&server, &replica).await;

    server.edit(CONFIG, |map| map["data"]["config"] = json!("policy: disabled\n"));
    eventually("the mended one is in force", async || replica.state.settings().filter(|settings| settings.policy == Policy::Disabled))
        .await;
    assert!(!replica.state.readiness().1.contains("configuration: PROBLEM"));
    let mut caller = Caller::connect(replica.address, NAME, &bundle(&server).unwrap()).await.unwrap();
    assert_eq!(caller.review(&pod()).await.unwrap()["patch"], serde_json::Value::Null, "new reviews see it");

    let map = server.get(CONFIG).unwrap();
    server.delete(CONFIG);
    page_says(&replica, "not found; the last good configuration stays").await;
    server.put(CONFIG, map);
    is_settled(&replica, "configuration").await;
}

/// Waits until neither page nor metric says that the part is in trouble.
async fn is_settled(replica: &Injector, part: &str) {
    let (problem, metric) = (format!("{part}: PROBLEM"), format!("outrigger_injector_problem{{part=\"{part}\"}} 0"));
    eventually(&format!("{part} is settled"), async || {
        let is_settled = !replica.state.readiness().1.contains(&problem) && replica.state.metrics.render().contains(&metric);
        is_settled.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_following_ends_with_it_although_the_texts_are_the_same() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    server.fail(Method::GET, "configmaps", 503, 1_000_000);
    server.cut_watches();
    page_says(&replica, "configuration: PROBLEM: ConfigMap istio").await;
    server.mend();
    is_settled(&replica, "configuration").await;

    server.edit(CONFIG, |map| map["data"]["config"] = json!("policy: [unclosed"));
    let broken = "configuration: PROBLEM: ConfigMap istio-sidecar-injector (version";
    page_says(&replica, broken).await;
    server.fail(Method::GET, "configmaps", 503, 1_000_000);
    server.cut_watches();
    page_says(&replica, "the API server says 503").await;
    server.mend();
    page_says(&replica, broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_vanishes_is_missed_and_not_replaced_by_defaults() {
    let server = cluster().await;
    server.edit(MESH, |map| map["data"]["mesh"] = json!("trustDomain: ours.example\n"));
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    for (path, key) in [(CONFIG, Some("values")), (MESH, Some("mesh")), (MESH, None)] {
        let map = server.get(path).unwrap();
        match key {
            Some(key) => server.edit(path, |map| drop(map["data"].as_object_mut().unwrap().remove(key))),
            None => server.delete(path),
        }
        let page = page_says(&replica, &format!("expected the key `{}` that was there before", key.unwrap_or("mesh"))).await;
        assert!(page.starts_with("ready") && page.contains("the last good configuration stays in force"), "{page}");
        assert_eq!(replica.state.settings().unwrap().trust_domain, "ours.example");
        server.put(path, map);
        is_settled(&replica, "configuration").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_a_burst_are_read_together_and_the_mesh_counts_too() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    let before = replica.state.metrics.reloads.get();
    for number in 1..=30 {
        server.edit(MESH, |map| map["data"]["mesh"] = json!(format!("trustDomain: d{number}.example\n")));
    }
    eventually("the last one is in force", async || replica.state.settings().filter(|settings| settings.trust_domain == "d30.example"))
        .await;
    let reloads = replica.state.metrics.reloads.get() - before;
    assert!((1..5).contains(&reloads), "{reloads} reloads for 30 changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injector_is_not_ready_before_its_config_map_is_there() {
    let server = cluster().await;
    let map = server.get(CONFIG).unwrap();
    server.delete(CONFIG);
    server.delete(MESH);
    let replica = injector(&server, times()).await;
    let page = page_says(&replica, "istio-sidecar-injector: not found; no pod can be injected").await;
    assert!(page.starts_with("not ready"), "{page}");
    server.put(CONFIG, map);
    serves(&server, &replica).await;
    page_says(&replica, "no ConfigMap istio").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_kubelet_is_known_or_else_the_api_server() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    page_says(&replica, "nodes: Kubernetes 1.33, according to the API server").await;
    for (name, version) in [("a", "v1.33.1"), ("b", "v1.28.9-eks-1")] {
        server.put(&format!("/api/v1/nodes/{name}"), json!({ "metadata": {}, "status": { "nodeInfo": { "kubeletVersion": version } } }));
    }
    let replica = injector(&server, times()).await;
    page_says(&replica, "nodes: Kubernetes 1.28, according to the oldest kubelet").await;
    assert_eq!(replica.state.cluster().kubernetes.unwrap().to_string(), "1.28");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_not_list_nodes_goes_by_the_api_server_and_readiness_waits_for_the_first_answer() {
    let server = cluster().await;
    let node = json!({ "metadata": {}, "status": { "nodeInfo": { "kubeletVersion": "v1.28.9" } } });
    server.put("/api/v1/nodes/a", node);
    server.fail(Method::GET, "nodes", 503, 1_000_000);
    let patient = Times { cluster: Duration::from_secs(3600), ..times() };
    let replica = injector(&server, patient).await;
    page_says(&replica, "nodes: PROBLEM: cannot learn Kubernetes' version: the API server says 503").await;
    serves(&server, &replica).await;
    let page = page_says(&replica, "configuration: ConfigMap").await;
    assert!(page.starts_with("not ready: the cluster's version is not known yet\n"), "{page}");
    server.mend();
    page_says(&replica, "nodes: Kubernetes 1.28, according to the oldest kubelet").await;
    assert!(replica.state.readiness().0);

    server.fail(Method::GET, "nodes", 403, 1_000_000);
    page_says(&injector(&server, patient).await, "nodes: Kubernetes 1.33, according to the API server; nodes may not be listed").await;
    server.mend();
    server.fail(Method::GET, "nodes", 503, 1_000_000);
    let hasty = injector(&server, Times { cluster: Duration::from_millis(50), ..times() }).await;
    eventually("an injector that gave up waiting is ready", async || hasty.state.readiness().0.then_some(())).await;
    assert_eq!(hasty.state.cluster().kubernetes, None);
}

/// Without a cluster: files, exchanged as kubelet exchanges a mounted ConfigMap or Secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_followed_configuration_and_certificate_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["config.yaml", "mesh.yaml", "tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), file(name)).unwrap();
    }
    let exchange = |version: &str, config: &str, (certificate, key): (String, String)| {
        let place = folder.path().join(format!("..{version}"));
        std::fs::create_dir(&place).unwrap();
        for (name, text) in [("config.yaml", config), ("mesh.yaml", ""), ("tls.crt", &certificate), ("tls.key", &key)] {
            std::fs::write(place.join(name), text).unwrap();
        }
        let link = folder.path().join("next");
        std::os::unix::fs::symlink(&place, &link).unwrap();
        std::fs::rename(&link, folder.path().join("..data")).unwrap();
    };
    let certificate = || {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let (first, second) = (certificate(), certificate());
    exchange("v1", "policy: enabled\n", first.clone());
    let words = [
        "--config-file",
        &file("config.yaml"),
        "--mesh-file",
        &file("mesh.yaml"),
        "--tls-cert",
        &file("tls.crt"),
        "--tls-key",
        &file("tls.key"),
    ];
    let replica = Injector::start(&args(&words), None, times()).await.unwrap();
    page_says(&replica, "ready").await;
    eventually("the first certificate", async || Caller::connect(replica.address, NAME, first.0.as_bytes()).await.ok()).await;

    exchange("v2", "policy: disabled\n", second.clone());
    eventually("the second certificate", async || Caller::connect(replica.address, NAME, second.0.as_bytes()).await.ok()).await;
    eventually("the second configuration", async || replica.state.settings().filter(|settings| settings.policy == Policy::Disabled)).await;

    exchange("v3", "policy: disabled\n", (first.0.clone(), second.1.clone()));
    page_says(&replica, "do not fit").await;
    Caller::connect(replica.address, NAME, second.0.as_bytes()).await.expect("the last good certificate is served on");

    exchange("v4", "policy: disabled\n", second);
    is_settled(&replica, "certificate").await;
}
