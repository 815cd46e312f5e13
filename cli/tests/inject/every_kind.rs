//! Each kind of workload has its pod in another place, each pod tells its proxy who its owner is.

use serde_json::{Value, json};

use super::{containers, inject, outrigger, read};

fn object(api_version: &str, kind: &str) -> String {
    let template = |indent: &str| {
        format!(
            "{indent}template: # the pod\n{indent}  metadata:\n{indent}    labels: {{app: web}}\n{indent}  spec:\n{indent}    containers:\n{indent}    - name: app # mine\n{indent}      image: example.com/app\n"
        )
    };
    let head = format!("# {kind}\napiVersion: {api_version}\nkind: {kind}\nmetadata:\n  namespace: shop\n  name: web\n");
    match kind {
        "Pod" => format!("{head}spec:\n  containers:\n  - name: app # mine\n    image: example.com/app\n"),
        "CronJob" => format!(
            "{head}spec:\n  schedule: \"* * * * *\"\n  jobTemplate:\n    metadata:\n      labels: {{job: \"1\"}}\n    spec:\n{}",
            template("      ")
        ),
        _ => format!("{head}spec:\n{}", template("  ")),
    }
}

const KINDS: [(&str, &str, &str); 11] = [
    ("v1", "Pod", "v1"),
    ("v1", "ReplicationController", "v1"),
    ("apps/v1", "Deployment", "apps/v1"),
    ("apps/v1", "ReplicaSet", "apps/v1"),
    ("apps/v1", "DaemonSet", "apps/v1"),
    ("apps/v1", "StatefulSet", "apps/v1"),
    ("batch/v1", "Job", "batch/v1"),
    ("batch/v1", "CronJob", "batch/v1"),
    ("extensions/v1beta1", "Deployment", "extensions/v1beta1"),
    ("apps.openshift.io/v1", "DeploymentConfig", "apps.openshift.io/v1"),
    ("argoproj.io/v1alpha1", "Rollout", "v1alpha1"),
];

fn pod(object: &Value) -> &Value {
    match object["kind"].as_str().unwrap() {
        "Pod" => object,
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    }
}

fn variable<'p>(pod: &'p Value, name: &str) -> &'p Value {
    let proxy = pod["spec"]["containers"].as_array().unwrap().iter().find(|container| container["name"] == "istio-proxy").unwrap();
    &proxy["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap()["value"]
}

#[test]
fn every_kind_is_injected_with_its_comments_kept_and_its_owner_told() {
    let text = KINDS.map(|(api_version, kind, _)| object(api_version, kind)).join("---\n");
    let injected = inject(&text);
    for line in text.lines() {
        let replaced = line.contains("labels: {app: web}");
        assert!(replaced || injected.lines().any(|other| other == line), "{line}");
    }
    let objects = read(&injected);
    for ((_, kind, owner), object) in KINDS.iter().zip(&objects) {
        let pod = pod(object);
        assert_eq!(containers(pod), ["app", "istio-proxy"], "{kind}");
        assert_eq!(pod["metadata"]["labels"]["security.istio.io/tlsMode"], "istio", "{kind}");
        assert!(pod["metadata"]["annotations"]["sidecar.istio.io/status"].is_string(), "{kind}");
        let owner = format!("kubernetes://apis/{owner}/namespaces/shop/{}s/web", kind.to_lowercase());
        assert_eq!(variable(pod, "ISTIO_META_OWNER"), &json!(owner), "{kind}");
        assert_eq!(variable(pod, "ISTIO_META_WORKLOAD_NAME"), "web", "{kind}");
    }
    // A CronJob's pods have labels of their own; the job's stay as they are.
    assert_eq!(objects[7]["spec"]["jobTemplate"]["metadata"], json!({"labels": {"job": "1"}}));
    assert_eq!(inject(&injected), injected);
}

#[test]
fn lists_and_json_are_injected_in_their_own_form() {
    let items: Vec<Value> =
        read(&[object("v1", "Pod"), "---\nkind: Service\napiVersion: v1\n---\n".to_owned(), object("apps/v1", "Deployment")].concat());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let text = serde_json::to_string_pretty(&list).unwrap() + "\n";
    let injected = inject(&text);
    let read_back: Value = serde_json::from_str(&injected).unwrap();
    assert_eq!(containers(&read_back["items"][0]), ["app", "istio-proxy"]);
    assert_eq!(read_back["items"][1], items[1]);
    assert_eq!(containers(pod(&read_back["items"][2])), ["app", "istio-proxy"]);
    assert_eq!(inject(&injected), injected);

    let yaml = "apiVersion: v1\nkind: List\nitems:\n# one\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n  spec:\n    containers: [{name: app}]\n# two\n- apiVersion: v1\n  kind: Service # s\n";
    let injected = inject(yaml);
    assert_eq!(containers(&read(&injected)[0]["items"][0]), ["app", "istio-proxy"]);
    assert!(
        injected.contains("# one\n- apiVersion: v1\n") && injected.ends_with("\n# two\n- apiVersion: v1\n  kind: Service # s\n"),
        "{injected}"
    );
}

#[test]
fn the_clusters_version_decides_about_native_sidecars() {
    let text = object("batch/v1", "Job");
    let names = |version: &str| {
        let done = outrigger(&["inject", "-f", "-", "--kubernetes-version", version], &text);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let job = read(&done.out).remove(0);
        containers(pod(&job)).len()
    };
    assert_eq!((names("1.28"), names("v1.33.1")), (2, 1));
}

#[test]
fn texts_that_yaml_1_1_takes_for_something_else_survive() {
    // Annotation and arguments move into a part that is written anew.
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations: {a: \"yes\", b: \"0x1f\", c: \"1e3\", d: \"null\", e: \"0644\", f: \"~\", g: \"12:30:45\"}\nspec:\n  containers:\n  - {name: app, command: [sh, -c, \"set -e\\n  yes\\n\\techo no\\n\"]}\n";
    let injected = inject(text);
    let script = "import sys, yaml, json; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let done = run_python(script, &injected);
    let pods: Vec<Value> = serde_json::from_str(&done).unwrap();
    assert_eq!(pods, read(&injected));
    let annotations = &pods[0]["metadata"]["annotations"];
    for (name, value) in [("a", "yes"), ("b", "0x1f"), ("c", "1e3"), ("d", "null"), ("e", "0644"), ("f", "~"), ("g", "12:30:45")] {
        assert_eq!(annotations[name], value);
    }
    let app = pods[0]["spec"]["containers"].as_array().unwrap().iter().find(|container| container["name"] == "app").unwrap();
    assert_eq!(app["command"][2], "set -e\n  yes\n\techo no\n");
}

/// PyYAML is a YAML 1.1 reader that shares nothing with ours.
fn run_python(script: &str, input: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child =
        Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
