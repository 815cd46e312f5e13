//! A run of the testbed for one test, and the ways to send requests in it.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use outrigger_loadtests::{Plan, Report};
use outrigger_testbed::{Options, Testbed};
use tokio::sync::RwLock;

/// Generous, for a machine that builds and tests at once; nothing waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger");
/// Where containers find it.
const PROGRAM_INSIDE: &str = "/usr/local/bin/outrigger";

static TURN: RwLock<()> = RwLock::const_new(());

/// Whether other tests may run at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// They may.
    Shared,
    /// They may not: the test measures times.
    Alone,
}

/// Runs a test on a runtime of its own; one that is not done within `seconds` has failed.
pub fn bounded(turn: Turn, seconds: u64, test: impl Future<Output = Result<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let _shared = if turn == Turn::Shared { Some(TURN.read().await) } else { None };
        let _alone = if turn == Turn::Alone { Some(TURN.write().await) } else { None };
        tokio::time::timeout(Duration::from_secs(seconds), test).await
    });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}"),
        Err(_) => panic!("not done within {seconds} s"),
    }
}

/// A run with its folder of manifests.
pub struct Bed {
    pub testbed: Testbed,
    folder: tempfile::TempDir,
}

impl Bed {
    /// Brings manifests up, each in a file of its own, and waits until everything is ready.
    ///
    /// With `KEEP_RUNS` in the environment the logs stay in `/run/outrigger/NAME`.
    pub async fn start(name: &str, files: &[(&str, String)]) -> Result<Bed> {
        let folder = tempfile::Builder::new().prefix("outrigger-test-").tempdir()?;
        for (file, text) in files {
            std::fs::write(folder.path().join(file), text)?;
        }
        // Proxies watch the folder itself and not a copy: what is tested is how they read files.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let mut options = Options::with_program(PROGRAM, [folder.path()]).named(format!("{name}-{}", std::process::id()));
        options.keep = std::env::var_os("KEEP_RUNS").is_some();
        let testbed = Testbed::start(options).await?;
        testbed.wait_ready(PATIENCE).await?;
        Ok(Bed { testbed, folder })
    }

    /// Ends the run, so that a failure to do so fails the test.
    pub async fn end(self) -> Result<()> {
        self.testbed.shutdown().await
    }

    /// The folder of manifests.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    // === Pods ===

    /// The primary address of a pod.
    pub fn address(&self, pod: &str) -> Result<IpAddr> {
        self.testbed.pod(pod)?.addresses.first().copied().with_context(|| format!("{pod} has no address"))
    }

    /// The IPv6 address of a pod.
    pub fn address_v6(&self, pod: &str) -> Result<IpAddr> {
        let pod = self.testbed.pod(pod)?;
        pod.addresses.iter().copied().find(IpAddr::is_ipv6).with_context(|| format!("{} has no IPv6 address", pod.name))
    }

    /// The cluster address of a Service.
    pub fn service(&self, name: &str) -> Result<IpAddr> {
        let services = self.testbed.services();
        let service = services.iter().find(|service| service.name == name).with_context(|| format!("no Service {name}"))?;
        service.addresses.first().copied().with_context(|| format!("Service {name} has no address"))
    }

    /// Where the host reaches the ingress gateway.
    pub fn gateway(&self) -> Result<SocketAddr> {
        self.testbed.gateway_address(("istio", "ingressgateway"), 80)
    }

    /// Process of a container (`None`: the application) of a pod.
    pub fn pid(&self, pod: &str, container: Option<&str>) -> Result<i32> {
        let pod = self.testbed.pod(pod)?;
        pod.container(container)?.pid.with_context(|| format!("{container:?} of {} is not running", pod.name))
    }

    // === Traffic ===

    /// Carries a plan out in a pod, as its application would.
    pub async fn load(&self, pod: &str, plan: &Plan) -> Result<Report> {
        let arguments = plan.to_arguments();
        let argv: Vec<&str> = [PROGRAM_INSIDE, "load"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let output = self.testbed.exec(pod, None, &argv).await?;
        let parsed = serde_json::from_slice(&output.stdout);
        parsed.with_context(|| format!("load in {pod}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// As [`Bed::load`]; every request must have been answered with a status below 400.
    pub async fn load_well(&self, pod: &str, plan: &Plan) -> Result<Report> {
        let report = self.load(pod, plan).await?;
        well(&report)?;
        Ok(report)
    }

    /// GET on a port of a pod's loopback interface: metrics, admin, health.
    pub async fn page(&self, pod: &str, port: u16, path: &str) -> Result<String> {
        let answer = self.testbed.http_get(pod, SocketAddr::from(([127, 0, 0, 1], port)), path).await?;
        ensure!(answer.status == 200, "{pod}:{port}{path} answered {}", answer.status);
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// What a proxy has logged.
    pub fn proxy_log(&self, pod: &str) -> Result<String> {
        self.testbed.logs(pod, Some("istio-proxy"))
    }
}

/// Nothing failed, and something was asked.
pub fn well(report: &Report) -> Result<()> {
    let (failed, asked) = (report.failed_count(), report.requests);
    ensure!(asked > 0 && failed == 0, "{failed} of {asked} failed: {:?} {:?}", report.statuses, report.error_examples);
    Ok(())
}

/// Asks again and again until the answer is yes; returns how long that took.
pub async fn until<F: Future<Output = Result<bool>>>(what: &str, patience: Duration, mut ask: impl FnMut() -> F) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        if ask().await.with_context(|| what.to_owned())? {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > patience {
            bail!("{what}: not within {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Replaces a file as most tools do: written beside, then renamed.
pub fn replace(file: &Path, text: &str) -> Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(beside, file)?)
}
