//! Pods come, die, restart, scale, roll and go.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_testbed::Testbed;
use outrigger_testbed::run::state::State;

use crate::bed::{PATIENCE, app, begun, client, deployment, end, out, ready, service};

fn application_pid(state: &State, pod: &str) -> Option<i32> {
    state.pod(pod).ok()?.container(None).ok()?.pid
}

#[tokio::test]
async fn a_killed_application_is_noticed_and_restarted() {
    let bed = ready("kill", &app("front", 1)).await;
    let pod = bed.pod("front").unwrap().name;
    let pid = application_pid(&bed.state(), &pod).unwrap();
    let killed = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    bed.wait_until(PATIENCE, |state| !state.pods[0].ready).await.unwrap();
    let noticed = killed.elapsed();
    assert!(noticed < Duration::from_secs(1), "noticed after {noticed:?}");
    let published = std::fs::read_dir(bed.folder().join("config"))
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().contains("endpointslice"));
    let slice = std::fs::read_to_string(published.unwrap().path()).unwrap();
    assert!(slice.contains("\"ready\":false"), "{slice}");
    bed.wait_ready(PATIENCE).await.unwrap();
    let again = bed.state();
    assert_ne!(application_pid(&again, &pod), Some(pid));
    assert_eq!(again.pods[0].containers[0].restarts, 1);
    end(bed).await;
}

#[tokio::test]
async fn a_container_that_keeps_failing_waits_longer_each_time_and_says_why() {
    let broken = client().replace("[sleep, infinity]", "[sh, -c, 'echo no database here; exit 3']");
    let bed = begun("backoff", &broken).await;
    let status = |state: &State| state.pods.first().map(|pod| pod.status.clone()).unwrap_or_default();
    let state = bed.wait_until(PATIENCE, |state| status(state).starts_with("CrashLoopBackOff")).await.unwrap();
    assert_eq!(status(&state), "CrashLoopBackOff: exit status 3: no database here");
    assert!(!state.settled);
    end(bed).await;
}

#[tokio::test]
async fn scaling_makes_and_removes_pods() {
    let bed = ready("scale", &app("front", 1)).await;
    bed.scale("default/front", 3).await.unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    assert_eq!(bed.pods().len(), 3);
    bed.scale("default/front", 1).await.unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    assert_eq!(bed.pods().len(), 1);
    assert!(bed.scale("default/none", 1).await.is_err());
    end(bed).await;
}

#[tokio::test]
async fn a_changed_template_is_rolled_out_without_a_moment_without_pods() {
    let manifest = |version: &str| format!("{}---\n{}", deployment("front", 2, version), service("front", ""));
    let bed = ready("roll", &manifest("v1")).await;
    bed.apply("manifests.yaml", &manifest("v2")).await.unwrap();
    let mut states = bed.watch();
    let rolled =
        |state: &State| state.settled && state.pods.iter().all(|pod| pod.labels.get("version").is_some_and(|version| version == "v2"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (ready, done) = {
            let state = states.borrow_and_update();
            (state.pods.iter().filter(|pod| pod.ready).count(), rolled(&state))
        };
        assert!(ready >= 2, "only {ready} pods are ready in between");
        if done {
            break;
        }
        assert!(Instant::now() < deadline);
        states.changed().await.unwrap();
    }
    assert_eq!(bed.pods().len(), 2);
    end(bed).await;
}

#[tokio::test]
async fn a_deleted_pod_leaves_the_endpoints_at_once_and_is_replaced() {
    let bed = ready("delete", &app("front", 2)).await;
    let victim = bed.pods()[0].name.clone();
    bed.delete_pod(&victim).await.unwrap();
    let slices = std::fs::read_dir(bed.folder().join("config")).unwrap().flatten();
    let slice = slices.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).find(|text| text.contains("EndpointSlice")).unwrap();
    assert!(slice.contains("\"terminating\":true"), "published before the call returns: {slice}");
    bed.wait_ready(PATIENCE).await.unwrap();
    let names: Vec<String> = bed.pods().into_iter().map(|pod| pod.name).collect();
    assert!(names.len() == 2 && !names.contains(&victim), "{names:?}");
    end(bed).await;
}

#[tokio::test]
async fn a_job_runs_to_completion() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      \
               containers: [{name: app, image: i, command: [sh, -c, 'echo done']}]\n";
    let bed = ready("job", job).await;
    assert_eq!(bed.pods()[0].status, "Completed");
    assert_eq!(bed.logs("once", None).unwrap(), "done\n");
    end(bed).await;
}

#[tokio::test]
async fn what_an_application_left_running_does_not_outlive_it() {
    let bed = ready("children", &client().replace("[sleep, infinity]", "[sh, -c, 'sleep 7654321 & exec sleep infinity']")).await;
    let running = |pod: &'static str| {
        let bed = &bed;
        async move { out(bed, pod, &["sh", "-c", "grep -lz 7654321 /proc/[0-9]*/cmdline 2>/dev/null | wc -l"]).await }
    };
    assert_ne!(running("client").await, "0");
    end(bed).await;
    let left = crate::bed::processes_of("7654321");
    assert!(left.is_empty(), "{left:?}");
}

/// Hardware addresses in the run's node namespace, of the links that `which` selects.
fn hardware_addresses(bed: &Testbed, which: &[&str]) -> Vec<String> {
    let node = format!("outrigger.{}.node", bed.name());
    let output = Command::new("ip").args(["-n", &node, "-json", "link", "show"]).args(which).output().unwrap();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    links.as_array().unwrap().iter().map(|link| link["address"].as_str().unwrap().to_owned()).collect()
}

/// Everything between pods passes the bridge. One that borrowed a pod's address would change it when that pod goes, and all
/// connections would stall until every neighbour has asked for it anew.
#[tokio::test]
async fn the_bridge_between_the_pods_has_an_address_of_its_own_and_keeps_it_when_they_go() {
    let bed = ready("bridge", &app("front", 3)).await;
    let bridge = hardware_addresses(&bed, &["dev", "br0"]);
    let ports = hardware_addresses(&bed, &["master", "br0"]);
    assert_eq!(ports.len(), 3);
    assert!(!ports.contains(&bridge[0]), "{bridge:?} is one of {ports:?}");
    bed.scale("default/front", 0).await.unwrap();
    bed.wait_until(PATIENCE, |state| state.pods.is_empty()).await.unwrap();
    assert_eq!(hardware_addresses(&bed, &["dev", "br0"]), bridge);
    end(bed).await;
}
