//! Runs tasks: several side by side in one mesh, their checks one after the other.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use outrigger_loadtests::{Amount, Plan, Report};
use outrigger_testbed::testbed::{Options, Testbed};

use crate::{
    format::{Check, Task},
    judge,
};

/// How long pods may take to become ready. Debug builds on two cores start some twenty pods in a few seconds.
const READY: Duration = Duration::from_secs(90);
/// How long a change may take to show in a check that applies one.
const EVENTUALLY: Duration = Duration::from_secs(5);
/// Where a container finds the program.
const PROGRAM: &str = "/usr/local/bin/outrigger";

/// Runs the tasks in one mesh and returns what was not as expected.
pub async fn together(tasks: &[&Task]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for task in tasks {
        copy_manifests(task, &folder.path().join(task.name()));
    }
    let start = Instant::now();
    let mesh = match start_mesh(tasks, folder.path()).await {
        Ok(mesh) => mesh,
        Err(error) => return vec![format!("{} and its group do not start: {error:#}", tasks[0].name())],
    };
    println!("{} pods ready after {:.1?}", mesh.pods().len(), start.elapsed());
    let mut wrong = Vec::new();
    for task in tasks {
        wrong.extend(all_checks(&mesh, task).await);
    }
    if let Err(error) = mesh.shutdown().await {
        wrong.push(format!("the mesh of {} does not end: {error:#}", tasks[0].name()));
    }
    wrong
}

async fn start_mesh(tasks: &[&Task], folder: &Path) -> anyhow::Result<Testbed> {
    let name = format!("tasks-{}-{}", std::process::id(), tasks[0].name());
    let options = Options::with_program(env!("CARGO_BIN_EXE_outrigger"), [folder]).named(name);
    let mesh = Testbed::start(options).await?;
    mesh.wait_ready(READY).await?;
    Ok(mesh)
}

fn copy_manifests(task: &Task, target: &Path) {
    fs::create_dir(target).expect("a new folder");
    for entry in fs::read_dir(&task.folder).expect("readable folder") {
        let path = entry.expect("readable folder").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            fs::copy(&path, target.join(path.file_name().expect("a file"))).expect("copied");
        }
    }
}

async fn all_checks(mesh: &Testbed, task: &Task) -> Vec<String> {
    let start = Instant::now();
    let mut wrong = Vec::new();
    for number in 0..task.checks.len() {
        let check = &task.checks[number];
        let complaints = carry_out(mesh, task, check).await.unwrap_or_else(|error| vec![format!("{error:#}")]);
        wrong.extend(complaints.into_iter().map(|complaint| format!("{}: {}: {complaint}", task.name(), check.name)));
    }
    println!("{:<24} {:>2} checks, {} complaints, {:.1?}", task.name(), task.checks.len(), wrong.len(), start.elapsed());
    wrong
}

async fn carry_out(mesh: &Testbed, task: &Task, check: &Check) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + EVENTUALLY;
    for (file, source) in &check.apply {
        let text = fs::read_to_string(task.folder.join(source))?;
        mesh.apply(&format!("{}-{file}", task.name()), &text).await?;
    }
    loop {
        let complaints = judge::complaints(&check.expect, &send(mesh, task, check).await?);
        if complaints.is_empty() || check.apply.is_empty() || Instant::now() > deadline {
            return Ok(complaints);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends the check's requests, from this machine or from inside a pod.
async fn send(mesh: &Testbed, task: &Task, check: &Check) -> anyhow::Result<Report> {
    let mut plan = plan(task, check)?;
    if check.from == "gateway" {
        plan.connect = Some(gateway(mesh, port(&check.url))?);
        return outrigger_loadtests::run(plan).await;
    }
    let (workload, namespace) = check.from.split_once('.').unwrap_or((&check.from, task.name()));
    let wanted = [format!("Deployment/{workload}"), format!("StatefulSet/{workload}")];
    let mut pods = mesh.pods().into_iter().filter(|pod| pod.namespace == namespace && wanted.contains(&pod.workload));
    let pod = pods.next().with_context(|| format!("no pod of {namespace}/{workload}"))?;
    let arguments = plan.to_arguments();
    let command: Vec<&str> = [PROGRAM, "load"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let output = mesh.exec(&format!("{namespace}/{}", pod.name), None, &command).await?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))
}

fn gateway(mesh: &Testbed, port: u16) -> anyhow::Result<SocketAddr> {
    mesh.gateway_address(("istio", "ingressgateway"), port)
}

fn plan(task: &Task, check: &Check) -> anyhow::Result<Plan> {
    let mut plan = Plan::new(&check.url, check.requests);
    ensure!(matches!(plan.amount, Amount::Requests(count) if count > 0), "nothing to send");
    plan.concurrency = check.concurrency;
    plan.method = check.method.parse()?;
    plan.body = check.body.clone().into_bytes();
    plan.http2 = check.http2;
    plan.grpc = check.grpc;
    plan.new_connections = check.new_connections;
    plan.connect = check.connect;
    plan.timeout = Duration::from_secs(10);
    plan.count_by = judge::properties(check);
    plan.keep_answers = false;
    plan.tls.roots = check.ca.as_ref().map(|file| task.folder.join(file));
    plan.tls.identity = check.identity.as_ref().map(|identity| (task.folder.join(&identity.cert), task.folder.join(&identity.key)));
    check.headers.iter().try_fold(plan, |plan, (name, value)| plan.header(name, value))
}

/// The port of a URL, its scheme's if it names none.
fn port(url: &str) -> u16 {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let named = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    named.unwrap_or(if scheme == "https" { 443 } else { 80 })
}
