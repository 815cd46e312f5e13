//! A run for one test.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger_testbed::network::{NetNs, host_links};
use outrigger_testbed::run;
use outrigger_testbed::{Options, Testbed};

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger");

/// A name no other test and no other process uses.
pub fn unique_name(purpose: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}-{purpose}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Starts a run of these manifests and waits until it is ready.
pub async fn ready(purpose: &str, yaml: &str) -> Testbed {
    let bed = begun(purpose, yaml).await;
    bed.wait_ready(PATIENCE).await.unwrap();
    bed
}

/// Starts a run of these manifests.
pub async fn begun(purpose: &str, yaml: &str) -> Testbed {
    let none: [&str; 0] = [];
    let bed = Testbed::start(Options::with_program(PROGRAM, none).named(unique_name(purpose))).await.unwrap();
    bed.apply("manifests.yaml", yaml).await.unwrap();
    bed
}

/// Ends a run and checks that nothing is left of it.
pub async fn end(bed: Testbed) {
    let name = bed.name();
    bed.shutdown().await.unwrap();
    assert_gone(&name);
}

/// Checks that no namespace, interface, route, folder or process of a run exists.
pub fn assert_gone(name: &str) {
    assert_eq!(NetNs::with_prefix(&format!("outrigger.{name}.")), [], "namespaces are left");
    assert!(host_links(name).is_empty(), "an interface is left");
    let folder = run::folder(name);
    assert!(!folder.exists(), "{} is left", folder.display());
    let processes = processes_of(name);
    assert!(processes.is_empty(), "processes are left: {processes:?}");
}

/// Command lines of the processes that carry the run's name.
pub fn processes_of(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(name)).collect()
}

/// A Deployment and a Service of one name, in namespace `default`, with the stand-in application on port 8080.
pub fn app(name: &str, replicas: u32) -> String {
    format!("{}---\n{}---\n", deployment(name, replicas, "v1"), service(name, ""))
}

/// A Deployment in namespace `default`.
pub fn deployment(name: &str, replicas: u32, version: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, version: {version}}}}}
    spec:
      containers:
      - {{name: app, image: example.com/app, ports: [{{containerPort: 8080}}]}}
"
    )
}

/// A Service in namespace `default` on port 80; `more` are further fields of the spec, such as `clusterIP: None`.
pub fn service(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
  {more}
"
    )
}

/// A pod that only waits for commands.
pub fn client() -> String {
    "apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - {name: app, image: example.com/client, command: [sleep, infinity]}
---
"
    .to_owned()
}

/// Standard output of a command in a pod, which has to succeed.
pub async fn out(bed: &Testbed, pod: &str, argv: &[&str]) -> String {
    let output = bed.exec(pod, None, argv).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{argv:?} in {pod}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Standard output of `curl` in a pod, empty if it fails.
pub async fn curl(bed: &Testbed, pod: &str, url: &str) -> String {
    let output = bed.exec(pod, None, &["curl", "-s", "-m", "5", "--noproxy", "*", url]).await.unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Standard output of `curl` on the host, empty if it fails.
pub fn curl_here(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-s", "-m", "5", "--noproxy", "*"]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Asks again and again until the answer satisfies.
pub async fn eventually<F: Future<Output = T>, T: std::fmt::Debug>(mut ask: impl FnMut() -> F, good: impl Fn(&T) -> bool) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if good(&answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "still: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
