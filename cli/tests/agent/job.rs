//! The proxy of a Job ends with the application, seen through a process namespace that the pod's containers share.
//!
//! As in a cluster: process 1 belongs to the pod, each container has a control group of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::net::{Net, PROGRAM, Process};

/// A control group for each container; removed when dropped.
struct Groups(PathBuf);

impl Groups {
    fn new(name: &str) -> Groups {
        // Version 2 alone, beside version 1, or version 1.
        let hierarchies = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"].map(Path::new);
        let hierarchy = hierarchies.into_iter().find(|folder| folder.join("cgroup.procs").exists());
        let folder = hierarchy.expect("control groups (this test needs root and a mounted hierarchy)").join(name);
        for container in ["first", "second", "proxy"] {
            fs::create_dir_all(folder.join(container)).expect("a control group (this test needs root)");
        }
        Groups(folder)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let begin = Instant::now();
        for folder in ["first", "second", "proxy", ""] {
            // A group can be removed once its last process has been reaped.
            while fs::remove_dir(self.0.join(folder)).is_err() && begin.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Two application containers, the second of which starts with its file; both run as long as their files exist. And a proxy whose exit status process 1 hands on.
const POD: &str = r#"
contain() { group=$1; shift; sh -c 'echo $$ > "$0"; exec "$@"' "$GROUPS_FOLDER/$group/cgroup.procs" "$@" & }
contain first sh -c 'while [ -e "$RUN/first" ]; do sleep 0.05; done'
(while [ ! -e "$RUN/second" ]; do sleep 0.05; done; contain second sh -c 'while [ -e "$RUN/second" ]; do sleep 0.05; done') &
contain proxy setpriv --reuid=1337 --regid=1337 --clear-groups --inh-caps=-all -- "$@"
wait $!
"#;

fn proxy_arguments(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let fixed = [PROGRAM, "proxy", "sidecar", "--pod-info", "/nonexistent", "--proxyLogLevel=info", "--concurrency=1", "--config", &folder];
    fixed.map(str::to_owned).to_vec()
}

#[test]
fn the_proxy_ends_well_once_every_application_container_has_ended() {
    let net = Net::new();
    let groups = Groups::new(&net.pod);
    let folder = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().expect("a folder");
    fs::write(folder.path().join("first"), "").expect("written");
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", net.pod));
    command.args(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", POD, "pod"]);
    command.args(proxy_arguments(folder.path())).env("GROUPS_FOLDER", &groups.0).env("RUN", folder.path());
    command.env("OUTRIGGER_EXIT_WITH_APPLICATION", "true").env("ISTIO_META_APP_CONTAINERS", "first,second");
    let mut pod = Process::start(&mut command);
    let said = pod.log();
    pod.until("ready", || said().contains("ready workers"));
    fs::remove_file(folder.path().join("first")).expect("removed");
    let mut goes_on = |why: &str| {
        std::thread::sleep(Duration::from_millis(1200));
        assert!(pod.child.try_wait().expect("waited").is_none() && !said().contains("have ended"), "{why}: {}", said());
    };
    goes_on("the second has yet to start");
    fs::write(folder.path().join("second"), "").expect("written");
    goes_on("the second runs");
    fs::remove_file(folder.path().join("second")).expect("removed");
    let begin = Instant::now();
    assert_eq!(pod.ended().code(), Some(0), "{}", said());
    assert!(begin.elapsed() < Duration::from_secs(4), "nothing is left to drain");
    assert!(said().contains("the application's processes have ended"), "{}", said());
}

#[test]
fn without_a_shared_process_namespace_it_says_so_and_goes_on() {
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = net.in_pod(PROGRAM);
    command.args(&proxy_arguments(folder.path())[1..]).env("OUTRIGGER_EXIT_WITH_APPLICATION", "true");
    let mut unshared = Command::new("unshare");
    unshared.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(command.get_program()).args(command.get_args());
    unshared.env("OUTRIGGER_EXIT_WITH_APPLICATION", "true");
    let mut proxy = Process::start(&mut unshared);
    let said = proxy.log();
    proxy.until("said", || said().contains("set shareProcessNamespace: true"));
    assert!(proxy.child.try_wait().expect("waited").is_none());
}
