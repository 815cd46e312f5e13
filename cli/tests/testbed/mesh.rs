//! Injection and gateways: pods with proxies, as the testbed sets them up.

use std::time::{Duration, Instant};

use outrigger_loadtests::{Amount, Plan};
use outrigger_testbed::{Options, Testbed};

use crate::bed::{PATIENCE, PROGRAM, app, client, curl, curl_here, end, eventually, ready, unique_name};

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}\n---\n";

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front}
spec:
  hosts: ['*']
  gateways: [gateway]
  http: [{route: [{destination: {host: front, port: {number: 80}}}]}]
";

#[tokio::test]
async fn an_injected_pod_runs_application_and_proxy_under_their_own_users() {
    let bed = ready("inject", &(NAMESPACE.to_owned() + &app("front", 1))).await;
    let pod = bed.pod("front").unwrap();
    let names: Vec<&str> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["istio-init", "istio-proxy", "app"]);
    let uid = |container: &str| {
        let pid = pod.container(Some(container)).unwrap().pid.unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line =
            |prefix: &str| status.lines().find(|line| line.starts_with(prefix)).unwrap().split_whitespace().nth(1).unwrap().to_owned();
        (line("Uid:"), line("CapEff:"))
    };
    assert_eq!(uid("istio-proxy"), ("1337".into(), "0000000000000000".into()));
    assert_eq!(uid("app").0, "1000");
    let ready = bed.http_get("front", ([127, 0, 0, 1], 15021).into(), "/healthz/ready").await.unwrap();
    assert_eq!(ready.status, 200);
    assert_eq!(bed.proxy_admin("front", "/config_dump").await.unwrap().status, 200);
    end(bed).await;
}

#[tokio::test]
async fn a_gateway_nobody_deployed_is_started_and_reached_from_the_host() {
    let bed = ready("gateway", &format!("{NAMESPACE}{}---\n{GATEWAY}", app("front", 2))).await;
    let address = bed.gateway_address(("istio", "ingressgateway"), 80).unwrap();
    let answer = curl_here(&[&format!("http://{address}/")]);
    assert!(answer.starts_with("front-"), "{answer:?}");
    end(bed).await;
}

#[tokio::test]
async fn manifests_that_only_root_can_read_reach_the_proxies_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let file = folder.path().join("a.yaml");
    std::fs::write(&file, format!("{NAMESPACE}{}---\n{GATEWAY}", app("front", 1))).unwrap();
    let options = Options::with_program(PROGRAM, [folder.path()]).named(unique_name("closed"));
    let bed = Testbed::start(options).await.unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    let address = bed.gateway_address(("istio", "ingressgateway"), 80).unwrap();
    let ask = || async { curl_here(&[&format!("http://{address}/")]) };
    eventually(ask, |answer| answer.starts_with("front-")).await;
    let direct = "[{directResponse: {status: 299, body: {string: changed}}}]";
    let text = std::fs::read_to_string(&file).unwrap().replace("[{route: [{destination: {host: front, port: {number: 80}}}]}]", direct);
    std::fs::write(&file, text).unwrap();
    eventually(ask, |answer| answer == "changed").await;
    end(bed).await;
}

#[tokio::test]
async fn a_killed_proxy_takes_its_pod_out_of_service_and_comes_back() {
    let outside = client().replace("{name: client}", "{name: client, annotations: {sidecar.istio.io/inject: 'false'}}");
    let bed = ready("kill-proxy", &format!("{NAMESPACE}{outside}{}", app("front", 1))).await;
    let pid = bed.pod("front").unwrap().container(Some("istio-proxy")).unwrap().pid.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    bed.wait_until(PATIENCE, |state| state.pod("front").is_ok_and(|pod| !pod.ready)).await.unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    let answer = curl(&bed, "client", "http://front/").await;
    assert!(answer.starts_with("front-"), "{answer:?}");
    end(bed).await;
}

/// Requests in flight at a time in the test below: as many can be at the killed process at most, twice.
const CONCURRENCY: usize = 8;

#[tokio::test]
async fn under_load_a_kill_costs_no_more_than_what_was_at_the_killed_process() {
    let bed = ready("kill-load", &format!("{NAMESPACE}{}---\n{GATEWAY}", app("front", 3))).await;
    let mut plan = Plan::new("http://front/", 1);
    plan.amount = Amount::For(Duration::from_secs(4));
    plan.concurrency = CONCURRENCY;
    plan.connect = Some(bed.gateway_address(("istio", "ingressgateway"), 80).unwrap());
    let load = tokio::spawn(outrigger_loadtests::run(plan));
    for container in ["app", "istio-proxy"] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let victim = bed.pod(&bed.pods_labelled("app", "front")[0].name).unwrap();
        let pid = victim.container(Some(container)).unwrap().pid.unwrap();
        let killed = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        bed.wait_until(PATIENCE, |state| state.pod(&victim.name).is_ok_and(|pod| !pod.ready)).await.unwrap();
        println!("{container}: noticed after {:?}", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(1), "noticed after {:?}", killed.elapsed());
    }
    let report = load.await.unwrap().unwrap();
    assert!(report.requests > 100, "{report:?}");
    assert!(report.failed_count() <= 2 * CONCURRENCY as u64, "{report:?}");
    bed.wait_ready(PATIENCE).await.unwrap();
    end(bed).await;
}
