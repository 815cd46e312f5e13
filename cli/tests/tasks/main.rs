//! Runs every folder of `examples/tasks`: its manifests as they are, its requests, its counts, its diagnostics.
//!
//! The manifests are what somebody would write for Istio. That they run unchanged is the claim; `examples/README.md`
//! documents the format of the checks. Needs root for the network namespaces.

mod diagnostics;
mod format;
mod judge;
mod run;

#[test]
fn there_are_at_least_25_tasks_over_all_api_versions() {
    let tasks = format::all();
    assert!(tasks.len() >= 25, "{}", tasks.len());
    let manifests: String = tasks.iter().map(manifests).collect();
    for version in ["networking.istio.io/v1\n", "networking.istio.io/v1beta1\n", "networking.istio.io/v1alpha3\n"] {
        assert!(manifests.matches(version).count() >= 10, "{version}");
    }
    for version in ["security.istio.io/v1\n", "security.istio.io/v1beta1\n"] {
        assert!(manifests.contains(version), "{version}");
    }
}

fn manifests(task: &format::Task) -> String {
    let sources = outrigger_config::load::read(std::slice::from_ref(&task.folder)).expect("readable manifests");
    sources.into_iter().map(|source| source.text).collect()
}

#[test]
fn every_task_counts_something_and_names_properties_that_can_be_counted() {
    for task in format::all() {
        assert!(!task.title.is_empty() && !task.checks.is_empty(), "{}", task.name());
        for check in &task.checks {
            let _all_parse = judge::properties(check);
            for source in check.apply.values() {
                assert!(task.folder.join(source).is_file(), "{}: {source}", task.name());
            }
        }
    }
}

#[test]
fn what_is_said_about_the_manifests_is_what_is_known() {
    let differences: Vec<String> = format::all().iter().filter_map(diagnostics::difference).collect();
    assert!(differences.is_empty(), "{}", differences.concat());
}

/// How many tasks share a mesh: few enough for two cores to start their pods quickly.
const SIDE_BY_SIDE: usize = 12;

/// All of them, or those named in `TASKS` (comma-separated). One mesh after the other, so that latencies mean something.
#[tokio::test]
async fn every_task_runs_and_its_answers_are_counted() {
    let chosen = std::env::var("TASKS").ok();
    let all = format::all();
    let named = |task: &&format::Task| chosen.as_ref().is_none_or(|names| names.split(',').any(|name| name == task.name()));
    let (alone, together): (Vec<_>, Vec<_>) = all.iter().filter(named).partition(|task| task.alone);
    let mut wrong = Vec::new();
    for tasks in together.chunks(SIDE_BY_SIDE).chain(alone.chunks(1)) {
        wrong.extend(run::together(tasks).await);
    }
    assert!(!all.is_empty() && wrong.is_empty(), "{} complaints:\n{}", wrong.len(), wrong.join("\n"));
}
