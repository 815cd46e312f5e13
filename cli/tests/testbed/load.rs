//! `outrigger load` as its users call it: against the shopfront from this machine, and as Jobs inside and outside the mesh.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_testbed::run;
use outrigger_testbed::run::state::State;

use crate::bed::{PATIENCE, PROGRAM, assert_gone, unique_name};

const AS_WRITTEN: &str = "v1=50,v2=30,v3=15,v4=5";
const CHANGED: &str = "v1=30,v2=30,v3=15,v4=25";

/// `outrigger up -f` with a copy of the shopfront.
struct Shop {
    child: Child,
    name: String,
    folder: tempfile::TempDir,
}

impl Shop {
    fn up(purpose: &str) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(example("shopfront")).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let name = unique_name(purpose);
        let mut command = Command::new(PROGRAM);
        command.args(["up", "--name", &name, "-f"]).arg(folder.path());
        let said = tempfile::NamedTempFile::new().unwrap();
        let child = command.stdout(said.reopen().unwrap()).stderr(Stdio::null()).spawn().unwrap();
        let shop = Shop { child, name, folder };
        shop.until_ready(said.path());
        shop
    }

    /// `up` says so once every proxy knows every pod. The run's state says only that the pods are ready, which a gateway may
    /// not have heard of yet.
    fn until_ready(&self, said: &Path) {
        let begun = Instant::now();
        while !std::fs::read_to_string(said).unwrap().contains("pods ready in") {
            assert!(begun.elapsed() < PATIENCE, "never ready; {:?}", State::read(&run::folder(&self.name)).ok());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until(&self, what: &str, condition: impl Fn(&State) -> bool) -> State {
        let begun = Instant::now();
        loop {
            let state = State::read(&run::folder(&self.name)).ok();
            if let Some(state) = state.filter(&condition) {
                return state;
            }
            assert!(begun.elapsed() < PATIENCE, "never: {what}; {:?}", State::read(&run::folder(&self.name)).ok());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn gateway(&self) -> IpAddr {
        let state = State::read(&run::folder(&self.name)).unwrap();
        state.services.iter().find(|service| service.gateway).expect("a gateway").addresses[0]
    }

    /// A thousand requests from this machine, judged.
    fn load(&self, expected: &str) -> Output {
        let target = format!("{}:80", self.gateway());
        let demands = ["--expect", expected, "--tolerance", "1"];
        Command::new(PROGRAM)
            .args(["load", "http://shop.example.com/", "--connect", &target, "-n", "1000", "-c", "8"])
            .args(demands)
            .output()
            .unwrap()
    }

    fn down(mut self) {
        self.end();
        assert_gone(&self.name);
    }

    fn end(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Drop for Shop {
    /// A test that fails leaves no mesh behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn expectations_hold_for_the_shopfront_and_fail_with_want_and_got_once_its_weights_are_changed() {
    let shop = Shop::up("expect");
    let met = shop.load(AS_WRITTEN);
    assert_eq!(met.status.code(), Some(0), "{}{}", text(&met.stdout), text(&met.stderr));

    let rules = shop.folder.path().join("virtual-service.yaml");
    let written = std::fs::read_to_string(&rules).unwrap();
    let changed = written.replace("weight: 50\n", "weight: 30\n").replace("weight: 5\n", "weight: 25\n");
    assert_ne!(changed, written);
    std::fs::write(&rules, changed).unwrap();
    let begun = Instant::now();
    while shop.load(CHANGED).status.code() != Some(0) {
        assert!(begun.elapsed() < PATIENCE, "the changed weights never took effect");
    }

    let missed = shop.load(AS_WRITTEN);
    let told = text(&missed.stdout) + &text(&missed.stderr);
    assert_eq!(missed.status.code(), Some(1), "{told}");
    for share in ["v1", "50", "30", "v4", "25"] {
        assert!(told.contains(share), "{share} is missing: {told}");
    }
    assert!(told.contains("want") && told.contains("got"), "{told}");
    shop.down();
}

#[test]
fn a_page_that_cannot_be_written_is_said_before_anything_is_sent() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let refused = Command::new(PROGRAM).args(["load", &url, "-n", "1", "--html", "/nowhere/page.html"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("/nowhere/page.html"), "{}", text(&refused.stderr));
    assert!(server.accept().is_err(), "a connection was made all the same");
}

#[test]
fn a_report_that_cannot_be_printed_is_an_error_and_no_panic() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in server.incoming().flatten() {
            let _request = stream.read(&mut [0; 1024]);
            let _sent = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
        }
    });
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Command::new(PROGRAM).args(["load", &url, "-n", "1"]).stdout(full).output().unwrap();
    assert_eq!(run.status.code(), Some(2), "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("cannot write to standard output"), "{}", text(&run.stderr));
}

#[test]
fn load_jobs_inside_and_outside_the_mesh_complete_with_their_reports_in_the_log() {
    let shop = Shop::up("loadjob");
    for file in ["in-mesh.yaml", "outside-mesh.yaml"] {
        std::fs::copy(example("load-job").join(file), shop.folder.path().join(file)).unwrap();
    }
    let jobs = ["load-in-mesh", "load-outside-mesh"];
    let completed =
        |state: &State| jobs.iter().all(|job| state.pods.iter().any(|pod| pod.name.starts_with(job) && pod.status == "Completed"));
    let state = shop.until("both Jobs are completed", completed);
    for job in jobs {
        let pod = state.pods.iter().find(|pod| pod.name.starts_with(job)).expect("its pod");
        assert_eq!(pod.containers.iter().any(|container| container.name == "istio-proxy"), job == "load-in-mesh");
        let log = Command::new(PROGRAM).args(["logs", "--name", &shop.name, &pod.name, "-c", "load"]).output().unwrap();
        assert!(text(&log.stdout).contains("2000") || text(&log.stdout).contains("2,000"), "{job}: {}", text(&log.stdout));
    }
    shop.down();
}
