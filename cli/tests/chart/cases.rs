//! What is rendered, and what came out. Helm runs once per process.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

/// One way to install the chart.
#[derive(Debug, Deserialize)]
pub struct Rendered {
    /// What Helm refused, if it did.
    pub error: Option<String>,
    pub notes: String,
    pub lint: Vec<Value>,
    pub objects: Vec<Object>,
}

/// One object of it.
#[derive(Debug, Deserialize)]
pub struct Object {
    /// Template it comes from.
    pub source: String,
    /// As rendered.
    pub text: String,
    /// As parsed by Helm.
    pub object: Value,
}

impl Object {
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// For messages.
    pub fn label(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }
}

impl Rendered {
    /// The objects; panics with Helm's message if there are none.
    pub fn objects(&self) -> &[Object] {
        assert_eq!(self.error, None);
        &self.objects
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects().iter().filter(move |object| object.kind() == kind)
    }

    pub fn one(&self, kind: &str, name: &str) -> &Value {
        let found = self.objects().iter().find(|object| object.kind() == kind && object.name() == name);
        &found.unwrap_or_else(|| panic!("no {kind} {name}")).object
    }
}

/// A folder of the repository.
pub fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

const PROFILES: [&str; 3] = ["demo", "default", "production"];
/// Where the image is in all of them.
pub const HUB: &str = "registry.example.com/mesh";

/// Everything Helm accepts: the profiles, and each feature that none of them has.
pub fn accepted() -> impl Iterator<Item = (&'static str, &'static Rendered)> {
    all().iter().filter(|(name, _)| !name.starts_with("bad ")).map(|(name, rendered)| (name.as_str(), rendered))
}

/// One of them by name.
pub fn case(name: &str) -> &'static Rendered {
    all().get(name).unwrap_or_else(|| panic!("no case {name}"))
}

/// Renders other values than the listed ones.
pub fn render(cases: &Value) -> BTreeMap<String, Rendered> {
    let mut command = Command::new("python3");
    command.arg(folder("charts/tests/render.py")).arg(folder("charts/outrigger"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
    child.stdin.take().expect("piped").write_all(cases.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "charts/tests/render.py failed, see above");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn all() -> &'static BTreeMap<String, Rendered> {
    static ALL: OnceLock<BTreeMap<String, Rendered>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut cases = serde_json::Map::new();
        for profile in PROFILES {
            let file = folder(&format!("charts/outrigger/profiles/{profile}.yaml"));
            cases.insert(profile.to_owned(), json!({"files": [file], "values": {"global": {"hub": HUB}}}));
        }
        let file = |path: &str| folder(path).display().to_string();
        let profile = file("charts/outrigger/profiles/default.yaml");
        cases.insert("eks".to_owned(), json!({"files": [profile, file("examples/eks/values.yaml")]}));
        cases.insert("eks behind an ALB".to_owned(), json!({"files": [profile, file("examples/eks/values-alb.yaml")]}));
        cases.insert("flux".to_owned(), json!({"helmRelease": file("examples/eks/flux.yaml")}));
        let variants = variants();
        for (name, values) in variants.as_object().expect("a table") {
            let mut values = values.clone();
            let global = values.as_object_mut().expect("values").entry("global").or_insert_with(|| json!({}));
            global.as_object_mut().expect("values").entry("hub").or_insert_with(|| json!(HUB));
            let namespace = if name.starts_with("beside") { "outrigger-system" } else { "istio-system" };
            cases.insert(name.clone(), json!({"values": values, "namespace": namespace}));
        }
        render(&Value::Object(cases))
    })
}

fn variants() -> Value {
    json!({
        "beside istiod": {"revision": "outrigger", "crds": {"install": false}, "ingressGateway": {"name": "outrigger-ingressgateway"}},
        "cert-manager": {"injector": {"certificate": {"mode": "cert-manager"}}},
        "cert-manager with an issuer": {"injector": {"certificate": {"mode": "cert-manager", "issuerRef": {"kind": "ClusterIssuer", "name": "mesh"}}}},
        "own certificate": {"injector": {"certificate": {"mode": "secret", "secretName": "mine", "caBundle": "Y2E="}}},
        "every namespace": {"sidecarInjectorWebhook": {"enableNamespacesByDefault": true}},
        "behind an ALB": {"ingressGateway": {"service": {"type": "NodePort", "ports": [
            {"name": "status-port", "port": 15021, "nodePort": 30521},
            {"name": "http2", "port": 80, "nodePort": 30080},
            {"name": "https", "port": 443, "nodePort": 30443}]}}},
        "as little as possible": {"ingressGateway": {"enabled": false}, "crds": {"install": false}, "tests": {"enabled": false}},
        "everything said": {
            "global": {"imagePullPolicy": "Always", "imagePullSecrets": ["pull"], "tag": 1.5, "logAsJson": true, "network": "east", "meshID": "m",
                "multiCluster": {"clusterName": "eks-1"}, "proxy": {"holdApplicationUntilProxyStarts": false}},
            "pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "true"}},
            "meshConfig": {"accessLogFile": "/dev/stdout", "trustDomain": "example.org", "defaultConfig": {"concurrency": 2, "discoveryAddress": "istiod.mesh.svc:15012"}},
            "sidecarInjectorWebhook": {"policy": "disabled", "strict": true, "rewriteAppHTTPProbe": false, "reinvocationPolicy": "IfNeeded", "timeoutSeconds": 10,
                "injectionPath": "/inject/cluster/eks-1/net/east", "injectedAnnotations": {"team": "mesh"},
                "neverInjectSelector": [{"matchLabels": {"batch": "true"}}],
                "alwaysInjectSelector": [{"matchExpressions": [{"key": "app", "operator": "Exists"}]}],
                "templates": {"extra": "metadata:\n  labels:\n    extra: \"true\"\n"}, "defaultTemplates": ["sidecar", "extra"], "aliases": {"both": ["sidecar", "extra"]}},
            "injector": {"replicas": 1, "env": {"A": "b"}, "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"}, "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"key": "dedicated", "operator": "Exists"}], "priorityClassName": "high"},
            "ingressGateway": {"certificateSecret": "identity", "configuration": {"configMap": "files", "secret": "keys"}, "env": {"E": "f"},
                "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"}, "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"},
                "nodeSelector": {"g": "h"}, "tolerations": [{"key": "edge", "operator": "Exists"}], "priorityClassName": "high",
                "service": {"annotations": {"i": "j"}, "externalTrafficPolicy": "Local", "loadBalancerClass": "service.k8s.aws/nlb", "loadBalancerSourceRanges": ["10.0.0.0/8"]}},
            "monitoring": {"dashboards": {"enabled": true, "annotations": {"grafana_folder": "mesh"}},
                "podMonitor": {"enabled": true, "labels": {"release": "prometheus"}}, "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}}},
        },
    })
}
