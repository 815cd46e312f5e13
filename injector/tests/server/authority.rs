//! Several replicas, one authority: made once, renewed without a refused review, its certificate kept in `caBundle`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger_injector::control::authority::{Authority, Times};
use serde_json::json;
use tokio::time::Instant;

use super::api_server::ApiServer;
use super::caller::{Caller, pod};
use super::fixture::{
    LEASE, NAME, SECRET, WEBHOOKS, authorities, bundle, cluster, eventually, injector, page_says, review_as_api_server, serves, soon, times,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_racing_make_one_authority_and_all_serve_certificates_of_it() {
    let server = cluster().await;
    let (first, second, third) = tokio::join!(injector(&server, times()), injector(&server, times()), injector(&server, times()));
    for replica in [&first, &second, &third] {
        serves(&server, replica).await;
    }
    assert_eq!(authorities(&server).len(), 1, "one authority, whoever was first");
    eventually("one of them leads", async || {
        let leaders = [&first, &second, &third].into_iter().filter(|replica| replica.state.metrics.leader.get() == 1);
        (leaders.count() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_the_chart_made_empty_are_filled_and_keep_their_labels() {
    let server = cluster().await;
    server.put(SECRET, json!({ "metadata": { "labels": { "app": "x" } }, "type": "Opaque", "data": { "mine": "eA==" } }));
    server.put(LEASE, json!({ "metadata": { "labels": { "app": "x" } } }));
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    let secret = server.get(SECRET).unwrap();
    assert_eq!((&secret["metadata"]["labels"]["app"], &secret["data"]["mine"]), (&json!("x"), &json!("eA==")));
    assert_eq!(server.get(LEASE).unwrap()["metadata"]["labels"]["app"], "x");
    assert!(
        !server.requests().iter().any(|request| request.starts_with("POST")),
        "nothing is created that is there: {:?}",
        server.requests()
    );
}

/// The whole life of an authority in nine seconds, with reviews by API servers that read `caBundle` only now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_authority_refuses_no_review() {
    let seconds = time::Duration::seconds;
    let lives = Times { authority: seconds(30), renew_before: seconds(29), propagation: seconds(1), leaf: seconds(5) };
    let staleness = Duration::from_millis(800);
    let server = cluster().await;
    let (first, second) = tokio::join!(injector(&server, soon(lives)), injector(&server, soon(lives)));
    for replica in [&first, &second] {
        serves(&server, replica).await;
    }
    let (mut known, mut read) = (bundle(&server).unwrap(), Instant::now());
    let mut reviews = 0;
    let end = Instant::now() + Duration::from_secs(40);
    let is_over =
        || authorities(&server).len() == 2 && server.get(SECRET).is_some_and(|secret| secret["data"].get("previous-ca.crt").is_none());
    while !is_over() {
        assert!(Instant::now() < end, "no whole renewal: {} authorities", authorities(&server).len());
        if read.elapsed() > staleness / 2 {
            (read, known) = (Instant::now(), bundle(&server).unwrap());
        }
        for replica in [&first, &second] {
            match Caller::connect(replica.address, NAME, &known).await {
                Ok(mut caller) => assert_eq!(caller.review(&pod()).await.unwrap()["allowed"], true),
                // A machine so busy that this API server is staler than any may be.
                Err(_) if read.elapsed() > staleness => continue,
                Err(error) => panic!("after {reviews} reviews, {:?} after reading caBundle: {error}", read.elapsed()),
            }
            reviews += 1;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(reviews > 50, "{reviews} reviews during the renewal");
    let sizes: Vec<usize> = server
        .history(SECRET)
        .iter()
        .map(|secret| ["ca.crt", "next-ca.crt", "previous-ca.crt"].iter().filter(|key| secret["data"].get(**key).is_some()).count())
        .collect();
    assert!(sizes.starts_with(&[1, 2, 2, 2, 1]), "alone, with the next, published, with the previous, alone: {sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_bundle_that_somebody_overwrites_is_repaired_and_foreign_webhooks_stay() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    server.edit(WEBHOOKS, |configuration| {
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = json!("b3RoZXI=");
        }
    });
    serves(&server, &replica).await;
    let webhooks = server.get(WEBHOOKS).unwrap()["webhooks"].clone();
    assert_eq!(webhooks[2]["clientConfig"]["caBundle"], "b3RoZXI=", "somebody else's webhook");
    assert_eq!(webhooks[1]["clientConfig"]["caBundle"], webhooks[0]["clientConfig"]["caBundle"]);
    assert_eq!(webhooks[0]["unknownToThisVersion"], true, "fields of a newer Kubernetes survive");
}

/// As istiod does with configurations that carry its own revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rival_writer_is_not_chased_faster_and_faster() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    let since = Instant::now();
    let mut overwritten = 0;
    while since.elapsed() < Duration::from_secs(2) {
        if bundle(&server).is_some() {
            overwritten += 1;
            server.edit(WEBHOOKS, |configuration| configuration["webhooks"][0]["clientConfig"]["caBundle"] = json!(""));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((1..10).contains(&overwritten), "{overwritten} rounds in two seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_installed_later_get_the_bundle_too() {
    let server = cluster().await;
    let configuration = server.get(WEBHOOKS).unwrap();
    server.delete(WEBHOOKS);
    let replica = injector(&server, times()).await;
    page_says(&replica, "caBundle: PROBLEM: MutatingWebhookConfiguration istio-sidecar-injector-mesh: not found").await;
    server.put(WEBHOOKS, configuration);
    serves(&server, &replica).await;
    page_says(&replica, "caBundle: 2 webhooks trust our certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_slow_answers_and_refusals_only_delay() {
    let server = cluster().await;
    server.delay(Duration::from_millis(100));
    for (method, path, status) in [
        (Method::POST, "secrets", 409),
        (Method::POST, "secrets", 500),
        (Method::POST, "leases", 409),
        (Method::PUT, "leases", 409),
        (Method::PATCH, "mutatingwebhookconfigurations", 422),
        (Method::GET, "secrets", 403),
        (Method::GET, "configmaps", 503),
    ] {
        server.fail(method, path, status, 1);
    }
    let (first, second) = tokio::join!(injector(&server, times()), injector(&server, times()));
    for replica in [&first, &second] {
        serves(&server, replica).await;
    }
    assert_eq!(authorities(&server).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_off_and_forgotten_watches_miss_nothing() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    let breaks: [fn(&ApiServer); 3] = [ApiServer::cut_watches, |server| server.forget(true), |server| server.forget(false)];
    for break_off in breaks {
        break_off(&server);
        server.edit(WEBHOOKS, |configuration| configuration["webhooks"][0]["clientConfig"]["caBundle"] = json!(""));
        serves(&server, &replica).await;
    }
    eventually("a watch that has to begin anew is no trouble", async || (!replica.state.readiness().1.contains("PROBLEM")).then_some(()))
        .await;
}

/// As with an RBAC rule without the verb `watch`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_lists_work_they_are_made_ever_more_slowly_and_the_trouble_stays() {
    let server = cluster().await;
    server.refuse_watches(true);
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    page_says(&replica, "configuration: PROBLEM: ConfigMap istio").await;
    let (since, before) = (Instant::now(), server.requests().len());
    while since.elapsed() < Duration::from_secs(2) {
        assert!(replica.state.readiness().1.contains("configuration: PROBLEM"), "the trouble does not come and go");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lists = server.requests()[before..].iter().filter(|request| request.starts_with("GET") && request.ends_with("configmaps")).count();
    assert!(lists < 30, "{lists} requests for two ConfigMaps in two seconds");
    server.refuse_watches(false);
    eventually("the trouble is over", async || (!replica.state.readiness().1.contains("PROBLEM")).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_goes_another_takes_over() {
    let server = cluster().await;
    let first = injector(&server, times()).await;
    serves(&server, &first).await;
    let second = injector(&server, times()).await;
    serves(&server, &second).await;
    assert_eq!(second.state.metrics.leader.get(), 0);
    first.end().await;
    eventually("the second one leads", async || (second.state.metrics.leader.get() == 1).then_some(())).await;
    server.edit(WEBHOOKS, |configuration| configuration["webhooks"][0]["clientConfig"]["caBundle"] = json!(""));
    serves(&server, &second).await;
    assert_eq!(authorities(&server).len(), 1, "the authority outlives its maker");

    // One that vanishes without giving the Lease back.
    let third = injector(&server, times()).await;
    serves(&server, &third).await;
    drop(second);
    eventually("the third one leads", async || (third.state.metrics.leader.get() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_cannot_be_used_is_named_and_not_overwritten() {
    let server = cluster().await;
    server.put(SECRET, json!({ "metadata": {}, "data": { "ca.crt": "eA==" } }));
    let replica = injector(&server, times()).await;
    let page = page_says(&replica, "certificate: PROBLEM").await;
    assert!(
        page.contains("Secret outrigger-injector-ca: holds no usable certificate authority") && page.starts_with("not ready"),
        "{page}"
    );
    assert_eq!(server.history(SECRET).len(), 1);
    server.put(SECRET, json!({ "metadata": {} }));
    serves(&server, &replica).await;
}

/// Nobody can lead, as when the Lease may not be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_ended_signs_nothing_and_is_replaced_by_the_next_leader() {
    let short = Times { authority: time::Duration::seconds(2), renew_before: time::Duration::ZERO, ..Times::default() };
    let server = cluster().await;
    let made = Authority::new(time::OffsetDateTime::now_utc(), &short).unwrap();
    let (mut data, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    made.write(&mut data, &mut annotations);
    let data: BTreeMap<String, String> = data.into_iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
    server.put(SECRET, json!({ "metadata": { "annotations": annotations }, "data": data }));
    for method in [Method::POST, Method::PUT] {
        server.fail(method, "leases", 503, 1_000_000);
    }
    let replica = injector(&server, times()).await;
    let page = page_says(&replica, "certificate: PROBLEM: Secret outrigger-injector-ca: its certificate authority ended").await;
    assert!(page.starts_with("not ready"), "{page}");
    server.mend();
    serves(&server, &replica).await;
    assert_eq!(authorities(&server).len(), 2);
    page_says(&replica, "certificate: signed by the authority").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_goes_away_takes_nothing_along() {
    let server = cluster().await;
    let replica = injector(&server, times()).await;
    serves(&server, &replica).await;
    let known = bundle(&server).unwrap();
    for method in [Method::GET, Method::PUT, Method::PATCH] {
        server.fail(method, "/", 503, 1_000_000);
    }
    server.cut_watches();
    page_says(&replica, "lease: PROBLEM").await;
    let mut caller = Caller::connect(replica.address, NAME, &known).await.unwrap();
    assert_eq!(caller.review(&pod()).await.unwrap()["allowed"], true);
    assert!(replica.state.readiness().0, "it goes on serving");
    assert!(review_as_api_server(&server, &replica).await.is_ok());
}
