//! The pod of `helm test`: its script, run by a shell here with a `curl` that answers as an API server would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::cases;

fn container() -> Value {
    cases::case("default").one("Pod", "outrigger-injector-test")["spec"]["containers"][0].clone()
}

/// Runs the container's command; `answers` is shell that prints what `curl` says, `$n` being which call it is.
fn run(answers: &str) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let calls = at("calls");
    let curl =
        format!("#!/bin/sh\necho \"$@\" >>{calls}\ncat >>{calls}\nn=$(grep -c dryRun {calls})\n{answers}\n", calls = calls.display());
    fs::write(at("curl"), curl).expect("writable");
    fs::set_permissions(at("curl"), fs::Permissions::from_mode(0o755)).expect("ours");
    fs::write(at("token"), "a-secret-token").expect("writable");
    let container = container();
    let words: Vec<&str> = ["command", "args"]
        .iter()
        .flat_map(|key| container[*key].as_array().expect("given"))
        .map(|word| word.as_str().expect("text"))
        .collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    for variable in container["env"].as_array().expect("given") {
        command.env(variable["name"].as_str().expect("text"), variable["value"].as_str().expect("text"));
    }
    command
        .env("CREDENTIALS", folder.path())
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "443")
        .env("PAUSE", "0");
    (command.output().expect("sh"), fs::read_to_string(calls).expect("it was called"))
}

#[test]
fn a_dry_run_that_comes_back_with_a_proxy_passes() {
    let injected = r#"echo '{"kind":"Pod","metadata":{"annotations":{"sidecar.istio.io/status":"{}"}}}'"#;
    let (output, calls) = run(injected);
    assert!(output.status.success(), "{output:?}");
    let url = "https://10.0.0.1:443/api/v1/namespaces/outrigger-injector-test-istio-system/pods?dryRun=All";
    assert!(calls.contains(url), "{calls}");
    let arguments = calls.lines().next().expect("a call");
    assert!(!arguments.contains("a-secret-token"), "the token would be visible to every process: {arguments}");
    assert!(calls.contains("Authorization: Bearer a-secret-token"));
    let pod = calls.split("--data ").nth(1).expect("a body").split(" https://").next().expect("a body");
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_str(pod).expect("a pod");
    assert_eq!(pod.spec.expect("given").containers.len(), 1);
}

#[test]
fn the_test_waits_for_a_ca_bundle_that_is_not_written_yet() {
    let later = r#"[ "$n" -ge 3 ] && echo '"sidecar.istio.io/status"' || echo 'x509: certificate signed by unknown authority'"#;
    let (output, calls) = run(later);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls.matches("dryRun=All").count(), 3);
}

#[test]
fn a_pod_without_a_proxy_fails_and_shows_the_answer() {
    let (output, calls) = run(r#"echo '{"kind":"Pod","metadata":{}} as it was'"#);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("as it was"), "{output:?}");
    assert_eq!(calls.matches("dryRun=All").count(), 12);
}
