//! Service addresses and names, for pods without a proxy and for the host.

use std::collections::BTreeSet;

use crate::bed::{app, client, curl, curl_here, deployment, end, eventually, out, ready, service};

#[tokio::test]
async fn a_service_is_reached_by_all_its_names_and_from_the_host() {
    let bed = ready("names", &(client() + &app("front", 2))).await;
    for name in ["front", "front.default", "front.default.svc", "front.default.svc.cluster.local"] {
        let answer = curl(&bed, "client", &format!("http://{name}/")).await;
        assert!(answer.starts_with("front-") && answer.ends_with(":v1"), "{name}: {answer:?}");
    }
    let mut pods = BTreeSet::new();
    let address = bed.services()[0].addresses[0];
    for _ in 0..40 {
        pods.insert(curl_here(&[&format!("http://{address}/")]));
    }
    assert_eq!(pods.len(), 2, "both pods answer the host: {pods:?}");
    end(bed).await;
}

#[tokio::test]
async fn a_pod_reaches_itself_through_its_service() {
    let bed = ready("hairpin", &app("front", 1)).await;
    let answer = curl(&bed, "front", "http://front/").await;
    assert!(answer.starts_with("front-"), "{answer:?}");
    end(bed).await;
}

#[tokio::test]
async fn a_dual_stack_service_is_reached_by_ipv6() {
    let dual = service("front", "ipFamilyPolicy: RequireDualStack");
    let bed = ready("dual", &format!("{}{}---\n{dual}", client(), deployment("front", 1, "v1"))).await;
    let answer = out(&bed, "client", &["curl", "-s", "-m", "5", "-6", "http://front/"]).await;
    assert!(answer.starts_with("front-"), "{answer:?}");
    end(bed).await;
}

#[tokio::test]
async fn pods_of_a_stateful_set_have_names_of_their_own() {
    let set = deployment("db", 2, "v1").replace("Deployment", "StatefulSet").replace("replicas:", "serviceName: db\n  replicas:");
    let bed = ready("stateful", &format!("{}{set}---\n{}", client(), service("db", "clusterIP: None"))).await;
    for pod in ["db-0", "db-1"] {
        let answer = curl(&bed, "client", &format!("http://{pod}.db:8080/")).await;
        assert_eq!(answer, format!("{pod}:v1"));
    }
    let addresses = out(&bed, "client", &["getent", "ahostsv4", "db"]).await;
    let addresses: BTreeSet<&str> = addresses.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(addresses.len(), 2, "a headless Service names all its pods");
    end(bed).await;
}

#[tokio::test]
async fn what_does_not_exist_is_refused_at_once() {
    let bed = ready("refused", &(client() + &app("front", 0))).await;
    let status = |url: String| {
        let bed = &bed;
        async move { bed.exec("client", None, &["curl", "-s", "-m", "4", &url]).await.unwrap().status.code() }
    };
    assert_eq!(status("http://none.default/".into()).await, Some(6), "the name does not resolve");
    assert_eq!(status("http://front/".into()).await, Some(7), "a Service without endpoints refuses");
    let nobody = bed.state().subnet.pod_v4(900);
    assert_eq!(status(format!("http://{nobody}/")).await, Some(7), "an address without a pod refuses");
    end(bed).await;
}

#[tokio::test]
async fn a_readiness_probe_decides_whether_a_pod_gets_traffic() {
    let probed = deployment("front", 2, "v1").replace(
        "containerPort: 8080}]",
        "containerPort: 8080}], readinessProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: [test, -e, /tmp/ready]}}",
    );
    let bed = crate::bed::begun("probe", &format!("{}{probed}---\n{}", client(), service("front", ""))).await;
    bed.wait_until(crate::bed::PATIENCE, |state| state.pods.iter().filter(|pod| pod.status == "Running").count() == 3).await.unwrap();
    assert_eq!(curl(&bed, "client", "http://front/").await, "", "nobody is ready");
    let first = bed.pods_labelled("app", "front")[0].name.clone();
    out(&bed, &first, &["touch", "/tmp/ready"]).await;
    let answer = eventually(|| curl(&bed, "client", "http://front/"), |answer| !answer.is_empty()).await;
    assert_eq!(answer, format!("{first}:v1"));
    out(&bed, &first, &["rm", "/tmp/ready"]).await;
    eventually(|| curl(&bed, "client", "http://front/"), String::is_empty).await;
    end(bed).await;
}
