//! The proxy under measurement: the release binary, run by callgrind.
//!
//! Callgrind counts instructions and calls of the allocator, and its log names every system call, so one run of the binary that
//! users run yields all quantities, without counters in the product and without ptrace. What differs from service: the
//! processor is the model that valgrind simulates (`machine`), and the clock is one of our own (`preload.c`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::callgrind::{self, Profile};
use crate::preload::{self, Extra};
use crate::scenario::{GATEWAY_PORT, Scenario};
use crate::trace;

/// Valgrind starts slowly on a busy machine.
const READY: Duration = Duration::from_secs(90);
const ADMIN_PORT: u16 = 15000;

/// What the process did in its whole life, but for its first thread: that one looks after files, certificates and names by the
/// clock, and takes no part in a request.
#[derive(Debug)]
pub struct Totals {
    pub profile: Profile,
    pub system_calls: u64,
}

/// A running proxy; killed when dropped.
pub struct Subject {
    child: Child,
    folder: PathBuf,
}

impl Subject {
    /// Starts it in the caller's network namespace and waits until it accepts. `folder` gets `config/` and everything written;
    /// it holds `certificates/` already.
    pub async fn start(binary: &Path, scenario: &Scenario, folder: &Path, extra: Option<Extra>) -> Result<Subject> {
        let config = folder.join("config");
        std::fs::create_dir(&config)?;
        std::fs::write(config.join("counts.yaml"), scenario.manifests(&folder.join("certificates")))?;
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--separate-threads=yes", "--trace-syscalls=yes"]);
        command.arg(format!("--log-file={}", folder.join("trace").display()));
        command.arg(format!("--callgrind-out-file={}", folder.join("profile").display()));
        command.arg(binary).args(["proxy", "router", "--concurrency", "1", "--config"]).arg(&config);
        if scenario.access_log {
            command.arg(format!("--access-log={}", folder.join("access.log").display()));
        }
        command.env("ISTIO_METAJSON_LABELS", r#"{"istio":"counts"}"#).env("POD_NAMESPACE", "counts").env("POD_NAME", "counts");
        command.envs(preload::environment(folder, binary, extra)?);
        let output = File::create(folder.join("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("cannot start valgrind (package valgrind; `scripts/deps test` installs it)")?;
        let mut subject = Subject { child, folder: folder.to_owned() };
        subject.ready().await?;
        Ok(subject)
    }

    async fn ready(&mut self) -> Result<()> {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", GATEWAY_PORT)).is_err() {
            if self.child.try_wait()?.is_some() || since.elapsed() > READY {
                bail!("the proxy under valgrind does not serve:\n{}", self.said());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What it has printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("output")).unwrap_or_else(|error| error.to_string())
    }

    /// Does something while the proxy is stopped, so that it finds all of it at once: how many events one turn of its event loop
    /// finds would otherwise depend on the speed of the machine.
    pub async fn unaware<T>(&self, act: impl Future<Output = Result<T>>) -> Result<T> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGSTOP)?;
        let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        ensure!(matches!(status, WaitStatus::Stopped(..)), "the proxy ended early ({status:?}):\n{}", self.said());
        let done = act.await;
        kill(pid, Signal::SIGCONT)?;
        done
    }

    /// Ends it and reads what it did. A folder that `COUNTS_KEEP` in the environment names gets valgrind's files, for
    /// `callgrind_annotate`, as `LABEL.profile-THREAD` and `LABEL.trace`.
    pub fn finish(mut self, label: &str) -> Result<Totals> {
        let mut admin = TcpStream::connect(("127.0.0.1", ADMIN_PORT)).context("the admin port")?;
        admin.write_all(b"POST /quitquitquit HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        admin.set_read_timeout(Some(READY))?;
        let _until_it_ends = admin.read_to_end(&mut Vec::new());
        let status = self.child.wait()?;
        ensure!(status.success(), "the proxy ended with {status}:\n{}", self.said());
        let files = self.written()?;
        if let Some(kept) = std::env::var_os("COUNTS_KEEP") {
            for file in &files {
                let name = file.file_name().unwrap_or_default().display();
                std::fs::copy(file, Path::new(&kept).join(format!("{label}.{name}")))?;
            }
        }
        let mut totals = Totals { profile: Profile::default(), system_calls: 0 };
        for file in files {
            let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
            match file.ends_with("trace") {
                true => totals.system_calls += trace::system_calls(&text),
                false => totals.profile.add(callgrind::parse(&text).with_context(|| file.display().to_string())?),
            }
        }
        let hint = "the binary was stripped, or has another allocator than jemalloc";
        ensure!(totals.profile.allocations > 0, "callgrind saw no call of an allocator: {hint}");
        Ok(totals)
    }

    /// The trace, and a profile for every thread but the first: `profile-02`, ...
    fn written(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path()));
        let files = entries.collect::<Result<Vec<PathBuf>>>()?;
        let wanted = |name: &str| name == "trace" || name.starts_with("profile-") && name != "profile-01";
        Ok(files.into_iter().filter(|file| file.file_name().and_then(OsStr::to_str).is_some_and(wanted)).collect())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
