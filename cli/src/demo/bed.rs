//! The shopfront while the demo runs: the testbed with the demo's files, clients and logs.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use outrigger_loadtests::{Plan, Report};
use outrigger_testbed::ca::Identity;
use outrigger_testbed::{Options, Testbed};
use serde_json::Value;

use super::log::LogLine;
use crate::stdio;

/// Versions and their shares in percent.
pub const SHARES: [(&str, f64); 4] = [("v1", 50.0), ("v2", 30.0), ("v3", 15.0), ("v4", 5.0)];
/// The host name the gateway serves.
pub const HOST: &str = "shop.example.com";

const NAMESPACE: &str = "shop";
const READY: Duration = Duration::from_secs(40);
/// A changed file takes effect within 100 ms; the demo gives it twice that at least.
const SETTLE: Duration = Duration::from_millis(200);
/// By then also every proxy of a busy machine has taken a changed file over, and has written its log.
const IN_FORCE: Duration = Duration::from_secs(20);
const LOGGED: Duration = Duration::from_secs(20);
/// A proxy's metric: how long ago it took the configuration in force over.
const CONFIGURATION_AGE: &str = "outrigger_config_age_seconds ";

/// The shopfront as `examples/shopfront` has it, so that the demo runs from any folder.
const SHOPFRONT: [(&str, &str); 5] = [
    ("namespace.yaml", include_str!("../../../examples/shopfront/namespace.yaml")),
    ("shopfront.yaml", include_str!("../../../examples/shopfront/shopfront.yaml")),
    ("gateway.yaml", include_str!("../../../examples/shopfront/gateway.yaml")),
    ("virtual-service.yaml", include_str!("../../../examples/shopfront/virtual-service.yaml")),
    ("destination-rule.yaml", include_str!("../../../examples/shopfront/destination-rule.yaml")),
];

/// The running shopfront.
pub struct Bed {
    testbed: Testbed,
    folder: tempfile::TempDir,
}

/// A place in a pod's log.
#[derive(Clone, Copy)]
pub struct Mark(usize);

/// What some pods served of one path.
pub struct Served {
    /// Requests answered.
    pub requests: u64,
    /// Of these, with 503.
    pub failures: u64,
}

impl Bed {
    /// Brings the shopfront up and waits until all of it is ready. `text` shows progress.
    pub async fn start(text: bool) -> Result<Bed> {
        let folder = tempfile::Builder::new().prefix("outrigger-demo-").tempdir().context("making a folder for the manifests")?;
        for (name, yaml) in SHOPFRONT.iter().chain(&[("demo.yaml", include_str!("extra.yaml"))]) {
            fs::write(folder.path().join(name), yaml)?;
        }
        let begin = Instant::now();
        let testbed = Testbed::start(Options::new([folder.path()])?).await?;
        testbed.wait_ready(READY).await?;
        if text {
            stdio::print_line(&format!("{} pods ready in {:.1} s", testbed.pods().len(), begin.elapsed().as_secs_f64()))?;
        }
        Ok(Bed { testbed, folder })
    }

    /// Ends everything and removes what was made.
    pub async fn shutdown(self) {
        if let Err(error) = self.testbed.shutdown().await {
            stdio::warn(&format!("outrigger: {error:#}"));
        }
    }

    /// What a visitor can try while the shopfront runs.
    pub fn commands(&self) -> Result<String> {
        let (run, gateway, gateway_pod) = (self.testbed.name(), self.gateway()?, self.gateway_pod()?);
        let folder = self.folder.path().display();
        Ok(format!(
            "
The shopfront is still running; its manifests are in {folder}. Try:

  curl -H 'Host: {HOST}' http://{gateway}/
  outrigger ps --name {run}
  outrigger exec --name {run} client -- curl -s http://shopfront/
  outrigger logs --name {run} {gateway_pod} -c istio-proxy
  outrigger exec --name {run} client -- curl -s http://localhost:15000/clusters

Ctrl-C ends it.
"
        ))
    }

    // === Files ===

    /// Writes a manifest into the watched folder, as an editor does, and waits until it is in force.
    pub async fn write(&self, name: &str, yaml: &str) -> Result<()> {
        let (new, file) = (self.path(&format!(".{name}.new")), self.path(name));
        fs::write(&new, yaml)?;
        let changed = Instant::now();
        fs::rename(new, file)?;
        self.until_in_force(changed).await
    }

    /// Deletes a manifest from the watched folder and waits until that is in force.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let changed = Instant::now();
        fs::remove_file(self.path(name))?;
        self.until_in_force(changed).await
    }

    /// Waits until every proxy has taken over a configuration later than this.
    async fn until_in_force(&self, changed: Instant) -> Result<()> {
        tokio::time::sleep(SETTLE).await;
        let pods = self.testbed.pods().into_iter();
        for pod in pods.filter(|pod| pod.ready && pod.container(Some("istio-proxy")).is_ok()) {
            let pod = format!("{}/{}", pod.namespace, pod.name);
            while self.configuration_age(&pod).await? >= changed.elapsed().as_secs_f64() {
                if changed.elapsed() > IN_FORCE {
                    bail!("the proxy of {pod} has not taken the changed manifests over within {IN_FORCE:?}");
                }
                tokio::time::sleep(SETTLE).await;
            }
        }
        Ok(())
    }

    async fn configuration_age(&self, pod: &str) -> Result<f64> {
        let metrics = self.testbed.proxy_admin(pod, "/stats/prometheus").await?;
        let metrics = String::from_utf8_lossy(&metrics.body);
        let age = metrics.lines().find_map(|line| line.strip_prefix(CONFIGURATION_AGE)?.trim().parse().ok());
        age.with_context(|| format!("the proxy of {pod} does not show {CONFIGURATION_AGE}"))
    }

    /// Puts the shopfront's own VirtualService back.
    pub async fn restore_virtual_service(&self) -> Result<()> {
        self.write("virtual-service.yaml", include_str!("../../../examples/shopfront/virtual-service.yaml")).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    // === Traffic ===

    /// Where the host reaches the gateway.
    pub fn gateway(&self) -> Result<SocketAddr> {
        self.testbed.gateway_address(("istio", "ingressgateway"), 80)
    }

    /// A plan for requests from the host through the gateway.
    pub fn gateway_plan(&self, path: &str, requests: u64) -> Result<Plan> {
        let mut plan = Plan::new(format!("http://{HOST}{path}"), requests);
        plan.connect = Some(self.gateway()?);
        Ok(plan)
    }

    /// Carries a plan out in the client pod, behind its sidecar.
    pub async fn load_in_client(&self, plan: &Plan) -> Result<Report> {
        self.load_in("shop/client", plan).await
    }

    /// Carries a plan out in a pod without a sidecar.
    pub async fn load_in_outsider(&self, plan: &Plan) -> Result<Report> {
        self.load_in("outside/outsider", plan).await
    }

    /// Carries a plan out in a pod, behind its sidecar when it has one.
    pub async fn load_in(&self, pod: &str, plan: &Plan) -> Result<Report> {
        let program = std::env::current_exe()?;
        let program = program.to_str().context("the path of this program is not UTF-8")?;
        let arguments = plan.to_arguments();
        let argv: Vec<&str> = [program, "load"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let output = self.testbed.exec(pod, None, &argv).await?;
        let parsed = serde_json::from_slice(&output.stdout);
        parsed.with_context(|| format!("load in {pod}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// GET on a pod's own application, past every proxy.
    pub async fn in_pod(&self, pod: &str, path: &str) -> Result<Vec<u8>> {
        let response = self.testbed.http_get(pod, SocketAddr::from(([127, 0, 0, 1], 8080)), path).await?;
        if response.status != 200 {
            bail!("{pod} answered {} to {path}", response.status);
        }
        Ok(response.body.to_vec())
    }

    /// What these pods have served of a path, by their own count.
    pub async fn served(&self, pods: &[String], path: &str) -> Result<Served> {
        let mut served = Served { requests: 0, failures: 0 };
        for pod in pods {
            let counts: Value = serde_json::from_slice(&self.in_pod(pod, "/counts").await?)?;
            let counts = &counts["paths"][path];
            served.requests += counts["requests"].as_u64().unwrap_or(0);
            served.failures += counts["statuses"]["503"].as_u64().unwrap_or(0);
        }
        Ok(served)
    }

    // === Pods ===

    /// Ready pods of a Deployment of the shop, by name.
    pub fn pods_of(&self, deployment: &str) -> Vec<String> {
        let workload = format!("Deployment/{deployment}");
        let pods = self.testbed.pods().into_iter();
        pods.filter(|pod| pod.namespace == NAMESPACE && pod.workload == workload && pod.ready).map(|pod| pod.name).collect()
    }

    /// One of them.
    pub fn pod_of(&self, deployment: &str) -> Result<String> {
        self.pods_of(deployment).into_iter().next().with_context(|| format!("no pod of {deployment} is ready"))
    }

    /// The primary address of one of them.
    pub fn pod_address(&self, deployment: &str) -> Result<IpAddr> {
        let pod = self.testbed.pod(&self.pod_of(deployment)?)?;
        pod.addresses.first().copied().with_context(|| format!("{} has no address", pod.name))
    }

    /// The gateway's pod.
    pub fn gateway_pod(&self) -> Result<String> {
        let pods = self.testbed.pods_labelled("istio", "ingressgateway");
        pods.into_iter().next().map(|pod| pod.name).context("no gateway pod")
    }

    /// The process of a pod's proxy.
    pub fn proxy_pid(&self, pod: &str) -> Result<u32> {
        let info = self.testbed.pod(pod)?;
        let pid = info.container(Some("istio-proxy"))?.pid.with_context(|| format!("the proxy of {pod} is not running"))?;
        Ok(u32::try_from(pid)?)
    }

    /// Deletes a pod as `kubectl delete pod` does and waits until its successor is ready.
    pub async fn delete_pod(&self, pod: &str) -> Result<()> {
        self.testbed.delete_pod(pod).await?;
        self.testbed.wait_ready(READY).await
    }

    /// Puts a valid certificate of another service account into a Deployment's pods and waits until they show it.
    pub async fn show_other_identity(&self, deployment: &str, service_account: &str) -> Result<()> {
        for pod in self.pods_of(deployment) {
            let identity = Identity {
                trust_domain: "cluster.local".to_owned(),
                namespace: NAMESPACE.to_owned(),
                service_account: service_account.to_owned(),
            };
            let uri = identity.uri();
            self.testbed.issue(&pod, identity, time::Duration::hours(1)).await?;
            self.wait_for_certificate(&pod, &uri).await?;
        }
        Ok(())
    }

    async fn wait_for_certificate(&self, pod: &str, uri: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let certificates = self.testbed.proxy_admin(pod, "/certs").await?;
            if String::from_utf8_lossy(&certificates.body).contains(uri) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the proxy of {pod} does not show {uri}");
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Gives the pods of a Deployment, whose service account has its name, their own certificate back.
    pub async fn restore_identity(&self, deployment: &str) -> Result<()> {
        self.show_other_identity(deployment, deployment).await
    }

    // === Logs ===

    /// The end of a proxy's access log at this moment.
    pub fn mark_log(&self, pod: &str) -> Result<Mark> {
        Ok(Mark(self.testbed.logs(pod, Some("istio-proxy"))?.len()))
    }

    /// The same for several proxies.
    pub fn mark_logs(&self, pods: &[String]) -> Result<Vec<(String, Mark)>> {
        pods.iter().map(|pod| Ok((pod.clone(), self.mark_log(pod)?))).collect()
    }

    /// Lines about a path that several proxies have written since their marks; waits until at least `count` are there.
    pub async fn calls_since(&self, marks: &[(String, Mark)], path: &str, count: u64) -> Result<Vec<LogLine>> {
        let deadline = Instant::now() + LOGGED;
        loop {
            let mut lines = Vec::new();
            for (pod, mark) in marks {
                lines.extend(self.log_since(pod, *mark).await?.into_iter().filter(|line| line.path == path));
            }
            if lines.len() as u64 >= count || Instant::now() > deadline {
                return Ok(lines);
            }
        }
    }

    /// The same for the gateway.
    pub fn mark_gateway_log(&self) -> Result<Mark> {
        self.mark_log(&self.gateway_pod()?)
    }

    /// Access-log lines written since a mark, once the writer has caught up.
    pub async fn log_since(&self, pod: &str, mark: Mark) -> Result<Vec<LogLine>> {
        tokio::time::sleep(SETTLE).await;
        let log = self.testbed.logs(pod, Some("istio-proxy"))?;
        Ok(log.get(mark.0..).unwrap_or_default().lines().filter_map(LogLine::parse).collect())
    }

    /// The gateway's lines since a mark; waits until at least `count` are there.
    pub async fn gateway_log(&self, mark: Mark, count: usize) -> Result<Vec<LogLine>> {
        let (pod, deadline) = (self.gateway_pod()?, Instant::now() + LOGGED);
        loop {
            let lines = self.log_since(&pod, mark).await?;
            if lines.len() >= count || Instant::now() > deadline {
                return Ok(lines);
            }
        }
    }

    /// Versions in the order in which the gateway decided for them, since a mark.
    pub async fn gateway_decisions(&self, mark: Mark, count: usize) -> Result<Vec<String>> {
        let mut lines = self.gateway_log(mark, count).await?;
        lines.sort_by_key(|line| line.decision);
        Ok(lines.iter().filter_map(|line| line.subset().map(str::to_owned)).collect())
    }
}
