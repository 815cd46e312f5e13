//! Manifests of the tests, as text.

/// A namespace whose pods get a sidecar.
pub fn meshed(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{istio-injection: enabled}}}}\n---\n")
}

/// A namespace outside the mesh.
pub fn outside(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n")
}

/// A workload of stand-in applications with a service account of its name.
#[derive(Clone)]
pub struct App {
    kind: &'static str,
    namespace: String,
    name: String,
    app: String,
    version: String,
    replicas: u32,
    labels: String,
    annotations: String,
    env: String,
    probe: String,
}

impl App {
    /// A Deployment of one pod, `app: NAME`, `version: v1`, serving HTTP on 8080.
    pub fn new(namespace: &str, name: &str) -> App {
        App {
            kind: "Deployment",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            app: name.to_owned(),
            version: "v1".to_owned(),
            replicas: 1,
            labels: String::new(),
            annotations: String::new(),
            env: String::new(),
            probe: "{httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}".to_owned(),
        }
    }

    /// A StatefulSet of so many pods, named after the headless Service it needs.
    pub fn stateful(namespace: &str, name: &str, replicas: u32) -> App {
        App { kind: "StatefulSet", replicas, ..App::new(namespace, name) }
    }

    /// As a version of an application that has several.
    pub fn of(mut self, app: &str, version: &str) -> App {
        (self.app, self.version) = (app.to_owned(), version.to_owned());
        self
    }

    pub fn replicas(mut self, replicas: u32) -> App {
        self.replicas = replicas;
        self
    }

    /// A further label of the pods.
    pub fn label(mut self, name: &str, value: &str) -> App {
        self.labels += &format!(", {name}: {value:?}");
        self
    }

    pub fn annotation(mut self, name: &str, value: &str) -> App {
        self.annotations += &format!("        {name}: {value:?}\n");
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> App {
        self.env += &format!("        - {{name: {name}, value: {value:?}}}\n");
        self
    }

    /// Another readiness probe, as a YAML flow mapping.
    pub fn probe(mut self, probe: &str) -> App {
        self.probe = probe.to_owned();
        self
    }

    pub fn yaml(&self) -> String {
        let App { kind, namespace, name, app, version, replicas, labels, annotations, env, probe } = self;
        let service_name = if *kind == "StatefulSet" { format!("  serviceName: {name}\n") } else { String::new() };
        let annotations = if annotations.is_empty() { String::new() } else { format!("      annotations:\n{annotations}") };
        let env = if env.is_empty() { String::new() } else { format!("        env:\n{env}") };
        format!(
            "apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {namespace}}}
---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: {replicas}
{service_name}  selector: {{matchLabels: {{app: {app}, version: {version}}}}}
  template:
    metadata:
      labels: {{app: {app}, version: {version}{labels}}}
{annotations}    spec:
      serviceAccountName: {name}
      containers:
      - name: main
        image: example.com/{app}:{version}
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {probe}
{env}---
"
        )
    }
}

/// A Service for `app: NAME`; `spec` is further YAML in flow form, beginning with a comma if not empty.
pub fn service(namespace: &str, name: &str, app: &str, ports: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{app: {app}}}, ports: [{ports}]{spec}}}
---
"
    )
}

/// The usual Service: HTTP on port 80.
pub fn http_service(namespace: &str, name: &str) -> String {
    service(namespace, name, name, "{name: http, port: 80, targetPort: 8080}", "")
}

/// Mesh settings with an access log of this format.
pub fn access_log(format: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: /dev/stdout
    accessLogFormat: \"{format}\\n\"
---
"
    )
}

/// A PeerAuthentication for a whole namespace.
pub fn peer_authentication(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: {namespace}}}
spec: {{mtls: {{mode: {mode}}}}}
"
    )
}

/// Subsets `v1`, `v2`, ... of a Service, balanced in turn.
pub fn subsets(namespace: &str, host: &str, versions: &[&str]) -> String {
    let subsets: Vec<String> = versions.iter().map(|version| format!("{{name: {version}, labels: {{version: {version}}}}}")).collect();
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}, namespace: {namespace}}}
spec:
  host: {host}
  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}
  subsets: [{}]
---
",
        subsets.join(", ")
    )
}

/// A split of `host` over subsets of the Service `to`; `gateway` is empty for calls inside the mesh.
pub fn split(namespace: &str, name: &str, host: &str, gateway: &str, to: &str, weights: &[(&str, u32)]) -> String {
    let gateways = if gateway.is_empty() { String::new() } else { format!("  gateways: [{gateway}]\n") };
    let route = |(subset, weight): &(&str, u32)| {
        format!("    - destination: {{host: {to}.{namespace}.svc.cluster.local, subset: {subset}}}\n      weight: {weight}\n")
    };
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: ['{host}']
{gateways}  http:
  - route:
{}---
",
        weights.iter().map(route).collect::<String>()
    )
}

/// A Gateway named `gateway` on port 80 for all hosts.
pub fn gateway(namespace: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: {namespace}}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 80, name: http, protocol: HTTP}}
    hosts: ['*']
---
"
    )
}
